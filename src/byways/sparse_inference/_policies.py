"""Which value leaves a full memory, and what that costs: the kernels behind ``simulate``.

The values in memory form a doubly linked list with a sentinel, number ``n``: least recently used
first under LRU, in the order of arrival under round robin. MIN keeps a heap of next uses beside it,
in which entries that have been overtaken are recognised and skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import compiled, entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["LRU", "MIN", "ROUND_ROBIN", "count_io", "lru_misses", "next_uses"]

LRU, MIN, ROUND_ROBIN = range(3)


@compiled
def _part(i, end, sources, targets, shared):
    """Give what edge ``i`` uses first, second and third."""
    if end == 0:
        return sources[i]
    return targets[i] if end == 1 else shared[i]


@entry
def next_uses(sources, targets, shared, n):
    """Give for each part of each edge the place of its next use, 3 m if there is none.

    Edge ``i`` uses its source at place ``3 i``, then its target, then its weight if weights are
    shared: ``shared`` holds their numbers, and is empty if not. Shape ``(m, 2)`` or ``(m, 3)``.
    """
    m, parts = len(sources), 3 if len(shared) else 2
    upcoming = np.full(n, 3 * m, np.int64)
    uses = np.empty((m, parts), np.int64)
    for i in range(m - 1, -1, -1):
        for part in range(parts - 1, -1, -1):
            x = _part(i, part, sources, targets, shared)
            uses[i, part] = upcoming[x]
            upcoming[x] = 3 * i + part
    return uses


@compiled
def _take_out(x, links):
    before, after = links[0, x], links[1, x]
    links[1, before], links[0, after] = after, before


@compiled
def _put_last(x, links):
    end = links.shape[1] - 1
    last = links[0, end]
    links[0, x], links[1, x] = last, end
    links[1, last], links[0, end] = x, x


@compiled
def _push(heap, size, key, x):
    """Add to a heap with the largest key on top."""
    k = size
    while k > 0 and heap[(k - 1) // 2, 0] < key:
        heap[k] = heap[(k - 1) // 2]
        k = (k - 1) // 2
    heap[k, 0], heap[k, 1] = key, x
    return size + 1


@compiled
def _pop(heap, size):
    """Take the top away."""
    size -= 1
    key, x = heap[size, 0], heap[size, 1]
    k = 0
    while 2 * k + 1 < size:
        child = 2 * k + 1
        if child + 1 < size and heap[child + 1, 0] > heap[child, 0]:
            child += 1
        if heap[child, 0] <= key:
            break
        heap[k] = heap[child]
        k = child
    heap[k, 0], heap[k, 1] = key, x
    return size


@compiled
def _farthest(heap, size, upcoming, inside, pinned, kept):
    """Find the value with the farthest next use that is no part of the current edge."""
    aside = 0  # in ``kept``, which has two rows: of three parts one is not inside
    while True:
        x, at = heap[0, 1], heap[0, 0]
        current = inside[x] and upcoming[x] == at
        if current and x not in pinned:
            for k in range(aside):
                size = _push(heap, size, kept[k, 0], kept[k, 1])
            return x, size
        size = _pop(heap, size)
        if current:
            kept[aside, 0], kept[aside, 1] = at, x
            aside += 1


# sizes: kernel, one pass over the edges with all its state in registers and flat arrays
@entry
def count_io(sources, targets, shared, level, is_output, capacity, policy, uses):
    """Count reads and writes of neuron values, and of shared weights, per level of the target.

    ``shared`` numbers the weights on from the last vertex, as does ``is_output``; it is empty if
    weights do not stay in memory. Outputs that are inputs are none here: nothing writes them. Shape
    ``(levels, 3)``.
    """
    m, n, parts = len(sources), len(is_output), 3 if len(shared) else 2
    top = 0
    left = np.zeros(n, np.int64)  # edges at each vertex that have not run
    # A constant output has to be written, once, even though no edge leads into it.
    owed = is_output.copy()
    for i in range(m):
        for part in range(parts):
            left[_part(i, part, sources, targets, shared)] += 1
        owed[targets[i]] = False
        top = max(top, level[targets[i]])
    count = np.zeros((top, 3), np.int64)
    inside, dirty = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    links = np.full((2, n + 1), n, np.int64)
    upcoming = np.zeros(n, np.int64)
    heap = np.empty((parts * m + 2 if policy == MIN else 0, 2), np.int64)
    kept = np.empty((2, 2), np.int64)
    size, waiting = 0, 0
    for i in range(m):
        u, v = sources[i], targets[i]
        pinned = (u, v, shared[i] if parts == 3 else v)
        row = level[v] - 1
        for part in range(parts):
            x = pinned[part]
            if not inside[x]:
                if size == capacity:
                    if policy == MIN:
                        w, waiting = _farthest(heap, waiting, upcoming, inside, pinned, kept)
                    else:
                        w = links[1, n]
                        while w in pinned:
                            w = links[1, w]
                    if dirty[w]:
                        count[row, 1] += 1
                    inside[w] = False
                    _take_out(w, links)
                    size -= 1
                inside[x] = True
                dirty[x], owed[x] = owed[x], False
                _put_last(x, links)
                count[row, 2 if part == 2 else 0] += 1
                size += 1
            elif policy == LRU:
                _take_out(x, links)
                _put_last(x, links)
            if policy == MIN:
                upcoming[x] = uses[i, part]
                waiting = _push(heap, waiting, upcoming[x], x)
        dirty[v] = True
        for part in range(parts):
            x = pinned[part]
            left[x] -= 1
            if left[x] == 0:
                if is_output[x] and dirty[x]:
                    count[row, 1] += 1
                inside[x] = False
                _take_out(x, links)
                size -= 1
    return count


# sizes: kernel, as above
@entry
def lru_misses(sources, targets, n, capacity):
    """Count misses of a set of vertices under LRU in which nothing is written or dropped."""
    inside = np.zeros(n, np.bool_)
    links = np.full((2, n + 1), n, np.int64)
    size, misses = 0, 0
    for i in range(len(sources)):
        for x in (sources[i], targets[i]):
            if inside[x]:
                _take_out(x, links)
            else:
                misses += 1
                inside[x] = True
                if size == capacity:
                    w = links[1, n]
                    inside[w] = False
                    _take_out(w, links)
                else:
                    size += 1
            _put_last(x, links)
    return misses
