"""Decision bits packed into words, and sorted lists of them.

Bit k of a sign vector is the decision number k. It sits at place 63 - k % 64 of word k // 64, so
that words compared as numbers, one after another, order sign vectors lexicographically.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint8]
    Words = NDArray[np.uint64]

__all__ = ["find", "lexicographic_order", "lower_bound", "pack", "unpack", "words_for"]

_WORD = 64


def words_for(decisions: int) -> int:
    """Give the number of words of a sign vector, at least one."""
    return max(1, -(-decisions // _WORD))


def pack(bits: Bits) -> Words:
    """Pack bits ``(n, decisions)`` into words ``(n, words)``."""
    count, decisions = bits.shape
    padded = np.zeros((count, words_for(decisions) * _WORD), dtype=np.uint8)
    padded[:, :decisions] = bits
    packed = np.packbits(padded, axis=1).view(">u8")
    return packed.astype(np.uint64)


def unpack(words: Words, decisions: int) -> Bits:
    """Undo ``pack``."""
    octets = np.ascontiguousarray(words.astype(">u8")).view(np.uint8)
    return np.unpackbits(octets.reshape(len(words), 8 * words.shape[1]), axis=1, count=decisions)


def lexicographic_order(words: Words) -> NDArray[np.intp]:
    """Give the permutation that sorts sign vectors."""
    if words.shape[1] == 1:
        return np.argsort(words[:, 0], kind="stable")
    return np.lexsort(words.T[::-1])


def find(wanted: Words, words: Words) -> NDArray[np.intp]:
    """Give for each wanted sign vector its place in a sorted list, or -1."""
    if not len(words):
        return np.full(len(wanted), -1, dtype=np.intp)
    place = np.minimum(lower_bound(wanted, words), len(words) - 1)
    return np.where((words[place] == wanted).all(axis=1), place, -1)


def lower_bound(wanted: Words, words: Words) -> NDArray[np.intp]:
    """Give for each wanted sign vector how many of a sorted list are smaller.

    The list is not copied, for it may be longer than memory.
    """
    if words.shape[1] == 1:
        return np.searchsorted(words[:, 0], wanted[:, 0])
    low = np.zeros(len(wanted), dtype=np.intp)
    high = np.full(len(wanted), len(words), dtype=np.intp)
    for _ in range(len(words).bit_length()):  # so often can a range be halved
        middle = np.minimum((low + high) // 2, len(words) - 1)
        above = _less(words[middle], wanted) & (low < high)
        low, high = np.where(above, middle + 1, low), np.where(above, high, middle)
    return low


def _less(left: Words, right: Words) -> NDArray[np.bool_]:
    """Compare sign vectors row by row."""
    first = (left != right).argmax(axis=1)
    rows = np.arange(len(left))
    less: NDArray[np.bool_] = left[rows, first] < right[rows, first]
    return less
