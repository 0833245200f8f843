"""Ordering edges as an environment in plain Python, a yardstick for compiled steps.

It keeps what changes up to date move by move and describes ready edges as ``EdgeOrderEnv`` does.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.sparse_inference import EdgeGraph

__all__ = ["PlainGame"]


class PlainGame:
    """One game after another on one network."""

    def __init__(self, graph: EdgeGraph, places: int) -> None:
        self.ends = list(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))
        self.vertices, self.places = graph.vertices, places
        self.at: list[list[int]] = [[] for _ in range(graph.vertices)]
        self.out: list[list[int]] = [[] for _ in range(graph.vertices)]
        for e, (u, v) in enumerate(self.ends):
            self.at[u].append(e)
            self.at[v].append(e)
            self.out[u].append(e)
        self.reset()

    def reset(self) -> None:
        """Begin a game."""
        self.left_in = [0] * self.vertices
        for _, v in self.ends:
            self.left_in[v] += 1
        self.left = [set(edges) for edges in self.at]
        self.ready = {e for e, (u, _) in enumerate(self.ends) if self.left_in[u] == 0}
        self.cache: OrderedDict[int, int] = OrderedDict()
        self.used: set[int] = set()
        self.now = self.done = 0

    def step(self, e: int) -> int:
        """Run a ready edge; give its misses."""
        misses = 0
        for x in self.ends[e]:
            self.now += 1
            if x in self.cache:
                self.cache.move_to_end(x)
            else:
                misses += 1
                if len(self.cache) == self.places:
                    self.cache.popitem(last=False)
            self.cache[x] = self.now
            self.used.add(x)
        u, v = self.ends[e]
        self.left[u].discard(e)
        self.left[v].discard(e)
        self.left_in[v] -= 1
        self.ready.discard(e)
        if self.left_in[v] == 0:
            self.ready.update(self.out[v])
        self.done += 1
        return misses

    def observe(self) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Describe the ready edges."""
        features = np.zeros((len(self.ends), 16), np.float32)
        mask = np.zeros(len(self.ends), np.int8)
        line = list(self.cache)
        later = {x: len(line) - 1 - k for k, x in enumerate(line)}
        known: dict[int, tuple[int, int, int]] = {}
        for e in self.ready:
            mask[e] = 1
            features[e] = self._describe(e, line, later, known)
        return features, mask

    def _describe(
        self, e: int, line: list[int], later: dict[int, int], known: dict[int, tuple[int, int, int]]
    ) -> list[float]:
        row = [0.0] * 16
        u, v = self.ends[e]
        for x in (u, v):
            if x in self.cache:
                row[2] += len(self.left[x])
                row[3] = max(row[3], (self.now - self.cache[x]) / self.places)
                row[13] = max(row[13], later[x] / self.places)
                continue
            met, near, last = self._near(x, known)
            row[0], row[1], row[6] = row[0] + met, row[1] + len(self.left[x]), row[6] + 1
            row[7], row[8], row[14] = row[7] + near, row[8] + last, row[14] + (x in self.used)
        row[4] = self.left_in[v]
        row[5] = float(u in self.cache and v not in self.cache)
        if len(line) == self.places and row[6]:
            victim = line[1] if line[0] == u else line[0]
            row[6] += victim == v
            row[9], row[10] = len(self.left[victim]), self._near(victim, known)[1]
        if row[4] == 1:
            row[11] = len(self.out[v])
            row[12] = sum(self.ends[f][1] in self.cache for f in self.out[v])
        row[15] = self.done / len(self.ends)
        return row

    def _near(self, y: int, known: dict[int, tuple[int, int, int]]) -> tuple[int, int, int]:
        """Count a vertex's edges to the cache: ready ones, all left, last ones of their ends."""
        if y in known:
            return known[y]
        met = near = last = 0
        for f in self.left[y]:
            a, b = self.ends[f]
            x = b if a == y else a
            if x not in self.cache:
                continue
            near += 1
            if f in self.ready:
                met, last = met + 1, last + (len(self.left[x]) == 1)
        known[y] = met, near, last
        return known[y]
