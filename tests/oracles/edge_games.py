"""Ordering edges as a game, played in plain Python: sets, dictionaries, lists."""

from __future__ import annotations

from collections.abc import Sequence


class Game:
    """One game: edges as pairs, and an LRU cache as a list, last used last."""

    def __init__(self, edges: Sequence[tuple[int, int]], places: int) -> None:
        self.edges, self.places = list(edges), places
        self.done: list[int] = []
        self.cache: list[int] = []
        self.misses = 0

    def ready(self) -> set[int]:
        waiting = {v for e, (_, v) in enumerate(self.edges) if e not in self.done}
        return {e for e, (u, _) in enumerate(self.edges) if e not in self.done and u not in waiting}

    def run(self, e: int) -> int:
        misses = 0
        for x in self.edges[e]:
            if x in self.cache:
                self.cache.remove(x)
            else:
                misses += 1
                if len(self.cache) == self.places:
                    self.cache.pop(0)
            self.cache.append(x)
        self.done.append(e)
        self.misses += misses
        return misses

    def free(self) -> set[int]:
        return {e for e in self.ready() if set(self.edges[e]) <= set(self.cache)}

    def left(self, x: int) -> list[int]:
        return [e for e, pair in enumerate(self.edges) if x in pair and e not in self.done]

    def describe(self, e: int) -> list[float]:
        """Give the sixteen features of a ready edge, each from its definition."""
        u, v = self.edges[e]
        ready, held = self.ready(), set(self.cache)
        missing, present = [x for x in (u, v) if x not in held], [x for x in (u, v) if x in held]
        ages = [self._age(x) for x in present]
        full = len(self.cache) == self.places
        misses = len(missing)
        victims: list[int] = []
        if full and missing:
            line = [x for x in self.cache if x != u]  # the source has just been used
            victims = line[:1]
            misses += victims == [v]
        into = [f for f in self.left(v) if self.edges[f][1] == v]
        out = [f for f, (a, _) in enumerate(self.edges) if a == v] if len(into) == 1 else []
        between = [[f for f in self.left(x) if self._other(f, x) in held] for x in missing]
        met = [[f for f in group if f in ready] for group in between]
        last = [
            sum(len(self.left(self._other(f, x))) == 1 for f in group)
            for x, group in zip(missing, met, strict=True)
        ]
        return [
            sum(map(len, met)),
            sum(len(self.left(x)) for x in missing),
            sum(len(self.left(x)) for x in present),
            max(ages, default=0) / self.places,
            len(into),
            float(u in held and v not in held),
            misses,
            sum(map(len, between)),
            sum(last),
            sum(len(self.left(x)) for x in victims),
            sum(self._other(f, x) in held for x in victims for f in self.left(x)),
            len(out),
            sum(self.edges[f][1] in held for f in out),
            max((len(self.cache) - 1 - self.cache.index(x) for x in present), default=0)
            / self.places,
            sum(any(x in self.edges[f] for f in self.done) for x in missing),
            len(self.done) / len(self.edges),
        ]

    def _other(self, f: int, x: int) -> int:
        a, b = self.edges[f]
        return b if x == a else a

    def _age(self, x: int) -> int:
        """Count the uses since the last one of a vertex."""
        uses = [y for f in self.done for y in self.edges[f]]
        return uses[::-1].index(x)


def gae(
    rewards: Sequence[float], values: Sequence[float], discount: float, trace: float
) -> list[float]:
    """Give advantages as the double sum that defines them; the end is worth nothing."""
    n = len(rewards)
    following = [*values[1:], 0.0]
    error = [rewards[t] + discount * following[t] - values[t] for t in range(n)]
    return [sum((discount * trace) ** (k - t) * error[k] for k in range(t, n)) for t in range(n)]
