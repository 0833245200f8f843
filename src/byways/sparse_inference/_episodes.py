"""Ordering edges as a game, for many networks at once: the kernels that keep its state.

A move runs one ready edge. The state is the set of edges that have run and a cache of the ``C``
vertices used last; a move costs the ends that were not in it. Networks are rows of padded arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byways.core.compiled import borrowing, entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph

    Ints = NDArray[np.int64]

__all__ = ["FEATURES", "Nets", "States", "View", "begin", "blank_view", "look", "pack", "step"]

# What is known of a ready edge. "Missing" ends are not in the cache, "present" ones are; the
# "victim" is the vertex that has to leave. The first six are those of the cache-aware greedy order.
FEATURES = (
    "ready edges between the missing ends and the cache",
    "edges left at the missing ends",
    "edges left at the present ends",
    "age of the older present end, in vertices of the cache",
    "edges left into the target",
    "only the target is missing",
    "misses",
    "edges left between the missing ends and the cache",
    "cached vertices with one edge left, a ready one to a missing end",
    "edges left at the victim",
    "edges left between the victim and the cache",
    "edges that get ready",
    "edges that get ready and lead into the cache",
    "vertices used later than the older present end, in vertices of the cache",
    "missing ends that were in the cache before",
    "share of edges that have run",
)
READY, DONE = 1, 2  # of an edge; 0 while edges into its source are left
SIZE, NOW, NEXT, RUN, MISSES = range(5)  # columns of ``States.tally``


class Nets(NamedTuple):
    """Networks, one a row; edges are numbered as in their graphs."""

    sources: Ints
    targets: Ints
    out_start: Ints
    out_ids: Ints
    at_start: Ints
    at_ids: Ints  # edges at each vertex, first those out of it, then those into it
    at_ends: Ints  # their other ends
    sizes: Ints  # vertices and edges


class States(NamedTuple):
    """Where each game stands."""

    status: NDArray[np.int8]  # of edges
    order: Ints  # edges in the order in which they ran
    left_in: Ints  # edges into each vertex that have not run
    left: Ints  # edges at each vertex that have not run
    stamp: Ints  # when each vertex was used last
    held: NDArray[np.bool_]
    cache: Ints
    tally: Ints  # vertices in the cache, uses so far, next edge in line, edges run, misses


class View(NamedTuple):
    """The choices of all games, one row each, those of game ``i`` from ``starts[i]`` on."""

    starts: Ints
    edges: Ints
    by_source: Ints  # the game's first choice with the same source, counted from ``starts``
    by_target: Ints
    features: NDArray[np.float64]


def pack(graphs: Sequence[EdgeGraph], edges: int = 1) -> Nets:
    """Put networks into rows that have room for at least so many edges."""
    vertices = max(graph.vertices for graph in graphs)
    edges = max(edges, *(graph.edges for graph in graphs))
    starts = vertices + 1
    shapes = (edges, edges, starts, edges, starts, 2 * edges, 2 * edges, 2)
    nets = Nets(*(np.zeros((len(graphs), shape), np.int64) for shape in shapes))
    for i, graph in enumerate(graphs):
        place(nets, i, graph)
    return nets


def place(nets: Nets, i: int, graph: EdgeGraph) -> None:
    """Put a network into a row."""
    ends = np.concatenate([graph.sources, graph.targets])
    others = np.concatenate([graph.targets, graph.sources])
    order = np.argsort(ends, kind="stable")
    at_start = np.append(0, np.cumsum(graph.out_degree + graph.in_degree))
    at_ids = np.tile(np.arange(graph.edges), 2)[order]
    rows = (graph.sources, graph.targets, *graph.out_of, at_start, at_ids, others[order])
    for array, row in zip(nets[:-1], rows, strict=True):
        array[i, : len(row)] = row
    nets.sizes[i] = graph.vertices, graph.edges


def start(nets: Nets, places: int) -> States:
    """Give the states of games that have not begun, for a cache of ``places`` vertices."""
    count, room = nets.sources.shape
    points = nets.out_start.shape[1] - 1
    left_in, left, stamp = (np.zeros((count, points), np.int64) for _ in range(3))
    states = States(
        np.zeros((count, room), np.int8),
        np.zeros((count, room), np.int64),
        left_in,
        left,
        stamp,
        np.zeros((count, points), np.bool_),
        np.zeros((count, places), np.int64),
        np.zeros((count, 5), np.int64),
    )
    begin(nets, states, np.ones(count, np.bool_))
    return states


def widened(nets: Nets, states: States, by: int) -> tuple[Nets, States]:
    """Make room for more vertices a game."""
    wide = {"out_start", "at_start", "left_in", "left", "stamp", "held"}

    def pad(name: str, array: NDArray[Any]) -> NDArray[Any]:
        return np.pad(array, ((0, 0), (0, by))) if name in wide else array

    return (
        Nets(**{name: pad(name, array) for name, array in nets._asdict().items()}),
        States(**{name: pad(name, array) for name, array in states._asdict().items()}),
    )


def blank_view(nets: Nets) -> View:
    """Make room for the choices of all games."""
    count, room = nets.sources.shape
    edges, by_source, by_target = (np.zeros(count * room, np.int64) for _ in range(3))
    features = np.zeros((count * room, len(FEATURES)))
    return View(np.zeros(count + 1, np.int64), edges, by_source, by_target, features)


@entry
def begin(nets, states, chosen):
    """Begin the chosen games anew."""
    for i in range(len(chosen)):
        if not chosen[i]:
            continue
        n, m = nets.sizes[i, 0], nets.sizes[i, 1]
        states.held[i, :] = False
        states.stamp[i, :] = 0
        states.tally[i, :] = 0
        states.status[i, :] = 0
        for x in range(n):
            states.left[i, x] = nets.at_start[i, x + 1] - nets.at_start[i, x]
            out = nets.out_start[i, x + 1] - nets.out_start[i, x]
            states.left_in[i, x] = states.left[i, x] - out
        for e in range(m):
            if states.left_in[i, nets.sources[i, e]] == 0:
                states.status[i, e] = READY


# sizes: kernel, the cache's change is part of the move
@borrowing
def run(i, e, nets, states):
    """Run an edge and give its misses: source first, then target, the oldest leaves."""
    u, v = nets.sources[i, e], nets.targets[i, e]
    cache, held, stamp, tally = states.cache[i], states.held[i], states.stamp[i], states.tally[i]
    states.order[i, tally[RUN]] = e
    tally[RUN] += 1
    states.status[i, e] = DONE
    states.left[i, u] -= 1
    states.left[i, v] -= 1
    states.left_in[i, v] -= 1
    misses = 0
    for x in (u, v):
        tally[NOW] += 1
        stamp[x] = tally[NOW]
        if held[x]:
            continue
        misses += 1
        if tally[SIZE] == len(cache):
            oldest = 0
            for c in range(1, len(cache)):
                if stamp[cache[c]] < stamp[cache[oldest]]:
                    oldest = c
            held[cache[oldest]] = False
            cache[oldest] = x
        else:
            cache[tally[SIZE]] = x
            tally[SIZE] += 1
        held[x] = True
    if states.left_in[i, v] == 0:
        for k in range(nets.out_start[i, v], nets.out_start[i, v + 1]):
            states.status[i, nets.out_ids[i, k]] = READY
    tally[MISSES] += misses
    return misses


@borrowing
def free_edge(i, nets, states):
    """Find a ready edge with both ends in the cache, first one that finishes a vertex; else -1."""
    best, least = -1, np.int64(2) ** 62
    for c in range(states.tally[i, SIZE]):
        x = states.cache[i, c]
        for k in range(nets.at_start[i, x], nets.at_start[i, x + 1]):
            e, y = nets.at_ids[i, k], nets.at_ends[i, k]
            if states.status[i, e] != READY or not states.held[i, y]:
                continue
            if states.left[i, x] + states.left[i, y] < least:
                best, least = e, states.left[i, x] + states.left[i, y]
    return best


@borrowing
def settle(i, nets, states):
    """Run all edges that cost nothing."""
    e = free_edge(i, nets, states)
    while e >= 0:
        run(i, e, nets, states)
        e = free_edge(i, nets, states)


@entry
def step(nets, states, edges, free, misses, ran):
    """Run an edge of each game (none where it is -1), then, if asked, those that cost nothing."""
    for i in range(len(edges)):
        misses[i], ran[i] = 0, 0
        if edges[i] < 0:
            continue
        before = states.tally[i, RUN]
        misses[i] = run(i, edges[i], nets, states)
        if free:
            settle(i, nets, states)
        ran[i] = states.tally[i, RUN] - before


# sizes: kernel, what is ready is asked for in three ways
@borrowing
def choices(i, everything, nets, states, edges):
    """List ready edges: all, or those at the cache, or the next in line if there are none."""
    count = 0
    m, tally = nets.sizes[i, 1], states.tally[i]
    if tally[RUN] == m:
        return 0
    if everything:
        for e in range(m):
            if states.status[i, e] == READY:
                edges[count] = e
                count += 1
        return count
    for c in range(tally[SIZE]):
        x = states.cache[i, c]
        for k in range(nets.at_start[i, x], nets.at_start[i, x + 1]):
            if states.status[i, nets.at_ids[i, k]] == READY:
                edges[count] = nets.at_ids[i, k]
                count += 1
    if count == 0:
        while states.status[i, tally[NEXT]] != READY:
            tally[NEXT] = (tally[NEXT] + 1) % m
        edges[0] = tally[NEXT]
        count = 1
    return count


@borrowing
def _count_near(i, nets, states, known):
    """Count for vertices their edges to the cache: ready ones, all left, last ones of their ends.

    Walking from the cache outwards looks at fewer edges than asking each vertex.
    """
    for c in range(states.tally[i, SIZE]):
        x = states.cache[i, c]
        for k in range(nets.at_start[i, x], nets.at_start[i, x + 1]):
            e, y = nets.at_ids[i, k], nets.at_ends[i, k]
            known[y, 0] += states.status[i, e] == READY
            known[y, 1] += states.status[i, e] != DONE
            known[y, 2] += states.status[i, e] == READY and states.left[i, x] == 1


@borrowing
def _oldest_two(i, states):
    """Give the two cached vertices that were used longest ago, -1 while the cache has room."""
    first, second = -1, -1
    cache, stamp = states.cache[i], states.stamp[i]
    if states.tally[i, SIZE] < len(cache):
        return first, second
    for x in cache:
        if first < 0 or stamp[x] < stamp[first]:
            first, second = x, first
        elif second < 0 or stamp[x] < stamp[second]:
            second = x
    return first, second


# sizes: kernel, what it finds out about a vertex serves all choices at it
@borrowing
def describe(i, edges, count, nets, states, known, mark, by_source, by_target, features):
    """Fill in the features of a game's choices, and which of them share an end."""
    cache, held, stamp, left = states.cache[i], states.held[i], states.stamp[i], states.left[i]
    now, places = states.tally[i, NOW], len(cache)
    oldest, second = _oldest_two(i, states)
    for c in range(states.tally[i, SIZE]):
        later = 0
        for other in range(states.tally[i, SIZE]):
            later += stamp[cache[other]] > stamp[cache[c]]
        known[cache[c], :3], known[cache[c], 3] = 0, later
    for k in range(count):
        u, v = nets.sources[i, edges[k]], nets.targets[i, edges[k]]
        mark[0, u], mark[1, v] = -1, -1
        known[u, :3], known[v, :3] = 0, 0
    _count_near(i, nets, states, known)
    for k in range(count):
        e = edges[k]
        u, v = nets.sources[i, e], nets.targets[i, e]
        mark[0, u] = k if mark[0, u] < 0 else mark[0, u]
        mark[1, v] = k if mark[1, v] < 0 else mark[1, v]
        by_source[k], by_target[k] = mark[0, u], mark[1, v]
        row = features[k]
        row[:] = 0.0
        for x in (u, v):
            if held[x]:
                row[2] += left[x]
                row[3] = max(row[3], (now - stamp[x]) / places)
                row[13] = max(row[13], known[x, 3] / places)
                continue
            row[0] += known[x, 0]
            row[1] += left[x]
            row[6] += 1
            row[7] += known[x, 1]
            row[8] += known[x, 2]
            row[14] += stamp[x] > 0
        row[4] = states.left_in[i, v]
        row[5] = held[u] and not held[v]
        if oldest >= 0 and row[6] > 0:
            victim = second if oldest == u else oldest
            row[6] += victim == v  # the source's arrival drives the target out
            row[9], row[10] = left[victim], known[victim, 1]
        if row[4] == 1:
            for j in range(nets.out_start[i, v], nets.out_start[i, v + 1]):
                row[11] += 1
                row[12] += held[nets.targets[i, nets.out_ids[i, j]]]
        row[15] = states.tally[i, RUN] / nets.sizes[i, 1]


@entry
def look(nets, states, everything, view):
    """List and describe the choices of all games."""
    points = nets.out_start.shape[1]
    known, mark = np.empty((points, 4), np.int64), np.empty((2, points), np.int64)
    for i in range(len(nets.sizes)):
        at = view.starts[i]
        count = choices(i, everything, nets, states, view.edges[at:])
        describe(
            i, view.edges[at:], count, nets, states, known, mark,
            view.by_source[at:], view.by_target[at:], view.features[at:],
        )  # fmt: skip
        view.starts[i + 1] = at + count


@entry
def spread(view, table):
    """Write the features of all choices to their rows of a table by game and edge."""
    for i in range(len(table)):
        for k in range(view.starts[i], view.starts[i + 1]):
            row, features = table[i, view.edges[k]], view.features[k]
            for j in range(len(row)):
                row[j] = features[j]
