"""Files that are written whole or not at all, and read without executing anything."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["read_npz", "write_npz"]


def write_npz(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to one compressed file; equal arrays give equal bytes."""
    target = Path(path)
    draft = target.with_name(f".{target.name}.part")
    try:
        with draft.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def read_npz(path: str | Path, expected: str) -> dict[str, NDArray[Any]]:
    """Read arrays that ``write_npz`` wrote, if their entry ``format`` is the expected one.

    Raises:
        ConversionError: If the file is something else or damaged.
    """
    try:
        # The stream is ours to close: np.load leaves it open when the archive is damaged.
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ConversionError(f"{str(path)!r} cannot be read as {expected}: {error}") from error
    found = str(arrays.get("format", "a file without a format entry"))
    if found != expected:
        raise ConversionError(f"{str(path)!r} holds {found}; {expected} is needed")
    return arrays
