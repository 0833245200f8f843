"""Files that are written whole or not at all, and read without executing anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["read_npz", "write_npz"]

_ZIP_MAGIC = b"PK\x03\x04"


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
        FileNotFoundError: If there is no such file.
    """
    try:
        arrays = _read_archive(Path(path))
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever zip, zlib and NumPy raise on damaged bytes
        raise ConversionError(f"{str(path)!r} cannot be read as {expected}: {error}") from error
    found = str(arrays.get("format", "a file without a format entry"))
    if found != expected:
        raise ConversionError(f"{str(path)!r} holds {found}; {expected} is needed")
    return arrays


def _read_archive(path: Path) -> dict[str, NDArray[Any]]:
    """Read a zip archive of arrays, closing the file whatever happens (numpy.load may not)."""
    with path.open("rb") as stream:
        if stream.read(4) != _ZIP_MAGIC:
            raise ValueError("it is not a zip archive")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
