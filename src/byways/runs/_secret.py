"""The secret of a run, and what only its holders can do: seal results and messages.

``RUN/secret`` is made with the run directory, readable for its owner only. Who can write to the
directory but not read the secret can destroy results, but cannot forge one. Who could put a secret
of his own there must be kept out by a second secret that lies elsewhere: the file that the variable
BYWAYS_SECRET_FILE names. Both together make the key then.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import zlib
from pathlib import Path
from typing import Protocol

from byways.core.errors import RunMismatchError
from byways.runs._files import move_to_free_name

__all__ = ["SECRET", "UNSEALED", "VARIABLE", "LineSeal", "ResultSeal", "Secret", "outside_secret"]

SECRET, VARIABLE = "secret", "BYWAYS_SECRET_FILE"
_LEAST = 16  # bytes of a secret
_DIGITS = 32  # of a seal: half a SHA-256, which is as hard to guess as a key of 128 bits


class Secret:
    """The key of one run, from which the keys for single purposes are derived.

    Args:
        key: The key.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def make(cls, folder: Path) -> Secret:
        """Put a secret into a folder unless there is one, and read it.

        Raises:
            OSError: If it cannot be written or read.
            RunMismatchError: If what is there was not put there by the owner.
        """
        path, outside = folder / SECRET, outside_secret()
        if not path.exists():
            draft = folder / f".{SECRET}.{secrets.token_hex(4)}.part"
            # Beside an outside secret it only makes this run differ from others.
            mode = 0o600 if outside is None else 0o644
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "w") as stream:
                stream.write(secrets.token_hex(32))
            with contextlib.suppress(FileExistsError):  # another master was faster: its secret
                move_to_free_name(draft, path)
            draft.unlink(missing_ok=True)
        return cls.read(folder)

    @classmethod
    def read(cls, folder: Path) -> Secret:
        """Read the secret in a folder.

        Raises:
            OSError: If it is not there, or is not for our eyes.
            RunMismatchError: If it was not put there by the owner of the folder, nor by us.
        """
        path, outside = folder / SECRET, outside_secret()
        key = path.read_bytes()
        if outside is not None:
            return cls(hmac.digest(outside, key, "sha256"))
        if path.stat().st_uid not in _trusted(folder):
            raise RunMismatchError(
                f"{path} belongs to user {path.stat().st_uid}, who is neither you nor the owner of "
                "the run directory, so it may have been exchanged to forge results; use another "
                "directory"
            )
        if len(key) < _LEAST:
            raise RunMismatchError(f"{path} is damaged: it has {len(key)} bytes")
        return cls(key)

    def derive(self, purpose: str, subject: bytes) -> bytes:
        """Give the key for one purpose and subject; it tells nothing about any other."""
        return hmac.digest(self._key, f"{purpose}\n".encode() + subject, "sha256")


def _trusted(folder: Path) -> set[int]:
    """Give the users whose secret may lie in a folder."""
    return {folder.stat().st_uid, getattr(os, "geteuid", lambda: 0)()}


def outside_secret() -> bytes | None:
    """Read the secret that lies outside of run directories, if there is one.

    Raises:
        OSError: If the variable names a file that cannot be read.
        ValueError: If the file is too short to be a secret.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    found = Path(name).read_bytes().strip()
    if len(found) < _LEAST:
        raise ValueError(
            f"{VARIABLE} was {name!r}, a file of {len(found)} bytes; a secret has at least "
            f"{_LEAST}, best random ones"
        )
    return found


class LineSeal(Protocol):
    """How the lines of a journal are closed."""

    def close(self, line: str) -> bytes:
        """Finish a line that lacks its closing brace."""

    def mark(self, record: bytes) -> str:
        """Give the field that tells whether a record of a shard is still the same."""

    def holds(self, line: bytes) -> bool:
        """Tell whether a line is one of ours."""


class ResultSeal:
    """Close lines with a seal that only holders of a key can make.

    A line ends in ``,"seal":"..."}``; the seal is an HMAC-SHA256 of all bytes before. It covers the
    arrays too, for the line names the SHA-256 of their record.

    Args:
        key: The key.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def close(self, line: str) -> bytes:
        """Finish a line that lacks its closing brace."""
        body = line.encode()
        return body + self._end(body)

    def mark(self, record: bytes) -> str:
        """Give the field that tells whether a record of a shard is still the same."""
        return f'"sha256":"{hashlib.sha256(record).hexdigest()}"'

    def holds(self, line: bytes) -> bool:
        """Tell whether a line is one of ours."""
        body = line[:-_END_LENGTH]
        return hmac.compare_digest(line[-_END_LENGTH:], self._end(body))

    def _end(self, body: bytes) -> bytes:
        seal = hmac.digest(self._key, body, "sha256").hex()[:_DIGITS]
        return f',"seal":"{seal}"}}\n'.encode()


_END_LENGTH = len(',"seal":""}\n') + _DIGITS


class _Unsealed:
    """Close and take lines as they were before results were sealed, or where none can check."""

    def close(self, line: str) -> bytes:
        """Finish a line that lacks its closing brace."""
        return f"{line}}}\n".encode()

    def mark(self, record: bytes) -> str:
        """Give a checksum: it finds damage, not forgery."""
        return f'"crc":{zlib.crc32(record)}'

    def holds(self, line: bytes) -> bool:
        """Take every line."""
        return True


UNSEALED = _Unsealed()
