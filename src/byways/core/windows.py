"""Windows of max-pooling and maxout: which entry is the largest, from the ReLUs that tell."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["matches_of_winners", "settled", "winners", "with_winners"]


def winners(bits: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Give the winner of a tournament from the segments of its matches.

    In each round neighbours a, b play, and 1 says that b is larger; who has no partner goes on.

    Args:
        bits: Matches in the order in which they are played, shape ``(..., k - 1)``.

    Returns:
        Place of the largest of the k entries, shape ``(...)``.

    Example:
        >>> winners(np.array([[0, 1, 1], [1, 0, 0]]))  # (0, 1), (2, 3), then the two that are left
        array([3, 1])
    """
    left = [np.full(bits.shape[:-1], i) for i in range(bits.shape[-1] + 1)]
    played = 0
    while len(left) > 1:
        following = []
        for i in range(0, len(left) - 1, 2):
            following.append(np.where(bits[..., played] > 0, left[i + 1], left[i]))
            played += 1
        left = following + left[len(left) - len(left) % 2 :]
    return np.asarray(left[0], dtype=np.int64)


def with_winners(
    segments: NDArray[np.integer[Any]], windows: Sequence[Sequence[int]]
) -> NDArray[np.int64]:
    """Replace the segments of each window's matches by the winner; windows come last.

    Args:
        segments: Shape ``(..., units)``.
        windows: For each window the units that are its matches.

    Returns:
        Shape ``(..., units - matches + windows)``.
    """
    alone = np.ones(segments.shape[-1], dtype=np.bool_)
    for window in windows:
        alone[list(window)] = False
    found = [winners(segments[..., list(window)])[..., None] for window in windows]
    return np.concatenate([segments[..., alone].astype(np.int64), *found], axis=-1)


@lru_cache(maxsize=64)
def matches_of_winners(k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the segments of all matches for each winner, those in which it does not play being 0.

    Args:
        k: Number of entries of the window.

    Returns:
        Segments, shape ``(k, k - 1)``; and for each entry the last match that it has to win as the
        second of two, -1 for entry 0, shape ``(k,)``. There it meets entry 0.

    Example:
        >>> segments, last = matches_of_winners(4)  # (0, 1), (2, 3), then the two that are left
        >>> segments.tolist(), last.tolist()
        ([[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1]], [-1, 0, 2, 2])
    """
    segments = np.zeros((k, k - 1), dtype=np.int64)
    last = np.full(k, -1)
    left = [[i] for i in range(k)]
    played = 0
    while len(left) > 1:
        for second in left[1::2]:
            segments[second, played], last[second] = 1, played
            played += 1
        left = [[i for part in left[at : at + 2] for i in part] for at in range(0, len(left), 2)]
    segments.setflags(write=False)
    last.setflags(write=False)
    return segments, last


def settled(
    segments: NDArray[np.integer[Any]], windows: Sequence[Sequence[int]]
) -> NDArray[np.integer[Any]]:
    """Set the segments of matches in which a window's winner does not play to 0.

    Args:
        segments: Shape ``(..., units)``.
        windows: For each window the units that are its matches.

    Returns:
        The same shape. Equal vectors have equal winners, and so one affine map.
    """
    result = segments.copy()
    for window in windows:
        places = list(window)
        table = matches_of_winners(len(places) + 1)[0].astype(segments.dtype)
        result[..., places] = table[winners(segments[..., places])]
    return result
