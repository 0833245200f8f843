"""Windows of max-pooling and maxout: which entry is the largest, from the ReLUs that tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["winners", "with_winners"]


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
