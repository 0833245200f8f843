"""Slow, obvious versions of what is done edge by edge."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence

Edge = tuple[int, int]


def infer(
    edges: Sequence[tuple[int, int, float]],
    bias: Sequence[float],
    activation: Callable[[int, float], float],
    inputs: Sequence[int],
    outputs: Sequence[int],
    x: Sequence[float],
) -> list[float]:
    """Run a network edge by edge in the order in which its edges are listed."""
    value = [float(b) for b in bias]
    left = [0] * len(value)
    for _, v, _ in edges:
        left[v] += 1
    for i, given in zip(inputs, x, strict=True):
        value[i] = float(given)
    for v in range(len(value)):
        if left[v] == 0 and v not in inputs:
            value[v] = activation(v, value[v])
    for u, v, w in edges:
        value[v] += w * value[u]
        left[v] -= 1
        if left[v] == 0:
            value[v] = activation(v, value[v])
    return [value[v] for v in outputs]


def topological_orders(edges: Sequence[Edge]) -> Iterator[tuple[int, ...]]:
    """Give every order of the edges in which each comes after all edges into its source."""
    for order in itertools.permutations(range(len(edges))):
        done: set[int] = set()
        for e in order:
            into = {k for k, edge in enumerate(edges) if edge[1] == edges[e][0]}
            if not into <= done:
                break
            done.add(e)
        else:
            yield order


def fewest_ios(edges: Sequence[Edge], outputs: Sequence[int], places: int) -> int:
    """Give the least number of neuron reads and writes, over all orders and all evictions.

    A shortest path over states (edges run, values in memory with their dirty bits).
    """
    into = {v: frozenset(k for k, e in enumerate(edges) if e[1] == v) for _, v in edges}
    at = {x: [k for k, e in enumerate(edges) if x in e] for edge in edges for x in edge}
    whole = (1 << len(edges)) - 1
    start: tuple[int, frozenset[tuple[int, bool]]] = (0, frozenset())
    distance, queue, ties = {start: 0}, [(0, 0, start)], itertools.count(1)
    while queue:
        cost, _, state = heapq.heappop(queue)
        if cost > distance[state]:
            continue
        done, memory = state
        if done == whole and not memory:
            return cost
        held = dict(memory)
        moves: list[tuple[int, int, dict[int, bool]]] = []
        for e, (u, v) in enumerate(edges):
            ready = all(done >> k & 1 for k in into.get(u, ()))
            if not done >> e & 1 and ready and u in held and v in held:
                moves.append((0, done | 1 << e, {**held, v: True}))
        for x in at:
            if x not in held and len(held) < places:
                moves.append((1, done, {**held, x: False}))
            elif x in held:
                needed = x in outputs or any(not done >> k & 1 for k in at[x])
                rest = {y: dirty for y, dirty in held.items() if y != x}
                moves.append((int(held[x] and needed), done, rest))
        for price, after, values in moves:
            following = (after, frozenset(values.items()))
            if cost + price < distance.get(following, 1 << 30):
                distance[following] = cost + price
                heapq.heappush(queue, (cost + price, next(ties), following))
    raise AssertionError("no way to run the edges")


def ego(edges: Sequence[Edge], window: int) -> list[int]:
    """Place one edge after the other by the published rule, recounting the window at every step.

    Among equal scores goes the edge whose source's and target's counts have not changed for
    longest, then the first listed. Changes within a step count in the order of ``touched`` below.
    """
    order: list[int] = []
    since: dict[tuple[str, int], int] = {}
    made = {v for _, v in edges}
    ready = {u for u, _ in edges if u not in made}

    def counts() -> dict[tuple[str, int], int]:
        recent = [edges[e] for e in order[-window:]]
        given = {("given", x): sum(x in edge for edge in recent) for x in ready}
        return given | {("taken", x): sum(x == v for _, v in recent) for x in made}

    def rank(e: int) -> tuple[int, int, int]:
        ends = ("given", edges[e][0]), ("taken", edges[e][1])
        return sum(score[end] for end in ends), -max(since.get(end, 0) for end in ends), -e

    for step in range(len(edges)):
        score = counts()
        waiting = [e for e in range(len(edges)) if e not in order and edges[e][0] in ready]
        order.append(max(waiting, key=rank))
        (u, v), old = edges[order[-1]], order[step - window] if step >= window else None
        touched = [("given", u), ("taken", v)]
        if old is not None:
            a, b = edges[old]
            touched += [("given", a), ("taken", b), ("given", b)]
        now = counts()
        for k, end in enumerate(touched):
            if end in now and now[end] != score[end]:
                since[end] = 6 * step + k + 1
        if all(e in order for e, edge in enumerate(edges) if edge[1] == v):
            ready.add(v)
            since["given", v] = 6 * step + 6
    return order


def replay(
    edges: Sequence[Edge],
    outputs: Sequence[int],
    places: int,
    policy: str,
    weights: Sequence[int] = (),
) -> tuple[int, int, int]:
    """Count neuron reads and writes of one order, with lists and dictionaries.

    Outputs that are inputs are not to be listed: they stand in slow memory already.
    If the weights are named, by negative numbers, they need places too, and their reads come last.
    """
    parts = [(*edge, w) for edge, w in zip(edges, weights, strict=True)] if weights else list(edges)
    uses = [x for part in parts for x in part]
    left = {x: uses.count(x) for x in uses}
    owed = set(outputs) - {v for _, v in edges}  # constants, to be written once
    memory: list[int] = []  # least recently used, or longest there, first
    dirty: dict[int, bool] = {}
    reads = writes = weight_reads = place = 0
    for part in parts:
        for x in part:
            place += 1
            if x in memory and policy == "lru":
                memory.append(memory.pop(memory.index(x)))
            if x in memory:
                continue
            if len(memory) == places:
                able = [y for y in memory if y not in part]
                victim = _farthest(able, uses, place) if policy == "min" else able[0]
                writes += dirty[victim]
                memory.remove(victim)
            memory.append(x)
            dirty[x] = x in owed
            owed -= {x}
            reads, weight_reads = reads + (x >= 0), weight_reads + (x < 0)
        dirty[part[1]] = True
        for x in part:
            left[x] -= 1
        dead = [x for x in part if left[x] == 0]
        writes += sum(x in outputs and dirty[x] for x in dead)
        memory = [x for x in memory if x not in dead]
    return reads, writes, weight_reads


def _farthest(able: list[int], uses: list[int], place: int) -> int:
    """Give the value whose next use is farthest away."""
    return max(able, key=lambda y: uses.index(y, place) if y in uses[place:] else len(uses))
