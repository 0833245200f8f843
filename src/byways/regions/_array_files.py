"""Arrays that are filled block by block, in memory or in a file, and read block by block."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from byways.runs._files import name_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

__all__ = ["ArrayFile", "ArrayInMemory", "Target", "blocks"]

_BUFFER = 1 << 20
_ABANDONED_SECONDS = 600.0  # a draft that nobody has written to for so long has lost its writer


class Target(Protocol):
    """An array that grows by its first axis until it has the shape that it was made for."""

    def add(self, block: NDArray[Any]) -> None:
        """Take the next rows."""

    def finish(self) -> NDArray[Any]:
        """Give the array."""


class ArrayInMemory:
    """An array in memory.

    Args:
        dtype: Its type.
        shape: Its shape.
    """

    def __init__(self, dtype: str, shape: tuple[int, int]) -> None:
        self._array = np.empty(shape, dtype)
        self._filled = 0

    def add(self, block: NDArray[Any]) -> None:
        """Take the next rows."""
        self._array[self._filled : self._filled + len(block)] = block
        self._filled += len(block)

    def finish(self) -> NDArray[Any]:
        """Give the array."""
        return self._array


class ArrayFile:
    """A ``.npy`` file that is there whole or not at all; use it as a context manager.

    It is written under another name and renamed when it is finished, so it can be begun again
    whenever a process died on the way. Its writers may be several if they write the same.

    Args:
        path: The file.
        dtype: Type of the array, with its byte order.
        shape: Shape of the array, without a zero.
        keep: Whether the file stays. If not, it never gets its name, and is gone when nobody maps
            it any more.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, int], *, keep: bool) -> None:
        self._path = path
        self._keep = keep
        self._draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        _remove_abandoned(path)
        with name_file(path):
            self._stream = self._draft.open("xb", buffering=_BUFFER)
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)

    def add(self, block: NDArray[Any]) -> None:
        """Take the next rows, in the type of the array."""
        with name_file(self._path):
            self._stream.write(np.ascontiguousarray(block).data)

    def finish(self) -> NDArray[Any]:
        """Write the rest, and map the file read-only."""
        with name_file(self._path):
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
        if self._keep:
            self._draft.replace(self._path)
            return np.lib.format.open_memmap(self._path, mode="r")
        return np.lib.format.open_memmap(self._draft, mode="r")  # its name goes with the context

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk is full for what was buffered as well
            self._stream.close()
        with contextlib.suppress(PermissionError):  # Windows keeps the names of mapped files
            self._draft.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove the drafts of writers that were killed."""
    for draft in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > _ABANDONED_SECONDS:
                draft.unlink()


def blocks(array: NDArray[Any], rows: int = 1 << 16) -> Iterator[NDArray[Any]]:
    """Give an array block by block; of a mapped file no more than a block stays in memory."""
    mapped: Any = array.base
    for first in range(0, len(array), rows):
        yield array[first : first + rows]
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
