"""Writing files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["move_to_free_name", "name_file", "sync_directory", "write_atomically"]


def write_atomically(path: Path, data: bytes | memoryview, *, sync: bool) -> None:
    """Put a file in place by renaming a finished draft; a failure leaves no draft behind."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with name_file(path), draft.open("xb") as stream:
            stream.write(data)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the system can."""
    if os.name == "nt":  # directories cannot be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def move_to_free_name(draft: Path, path: Path) -> None:
    """Rename a draft to a name that must be free."""
    with contextlib.suppress(OSError):  # no hard links on this file system
        os.link(draft, path)
        return
    if path.exists():
        raise FileExistsError(f"{str(path)!r} exists already")
    draft.replace(path)


@contextlib.contextmanager
def name_file(path: Path) -> Iterator[None]:
    """Let an error of the system say which file it was about: a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
