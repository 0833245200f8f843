"""A warning about weights with few bits."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["warn_of_short_numbers"]


def warn_of_short_numbers(kinds: Iterable[str]) -> None:
    """Warn, on the line that called this package, of weights with fewer than 24 bits."""
    given = ", ".join(sorted(kinds))
    level, frame = 1, sys._getframe()
    while frame.f_back and (frame.f_globals.get("__package__") or "").startswith("byways"):
        level, frame = level + 1, frame.f_back
    if given:
        warnings.warn(
            f"the network has weights of type {given}; the chain, and so its regions, are those of "
            "the float64 copy",
            UserWarning,
            stacklevel=level,
        )
