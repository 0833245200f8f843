"""One rule for randomness: an explicit generator, never the global one."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["as_generator", "task_generator"]


def as_generator(rng: int | np.random.Generator | None) -> np.random.Generator:
    """Turn a seed, a generator or None (fresh entropy) into a generator.

    Raises:
        TypeError: If ``rng`` is anything else, a bool included.
        ValueError: If a seed is negative.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None or (isinstance(rng, (int, np.integer)) and not isinstance(rng, bool)):
        if rng is not None and rng < 0:
            raise ValueError(f'"rng" was {rng!r}; a seed is not negative')
        return np.random.default_rng(rng)
    raise TypeError(
        f'"rng" was {rng!r}; it takes an integer seed, a numpy.random.Generator, or None '
        "for fresh entropy"
    )


def task_generator(root: int, key: str) -> np.random.Generator:
    """Give a task its own generator, the same whichever worker runs it."""
    digest = hashlib.sha256(f"{root}:{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
