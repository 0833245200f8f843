"""The manifest of a run directory: what the run computes, and for whom."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byways.core.errors import JournalError, RunMismatchError
from byways.runs._files import move_to_free_name
from byways.runs._tasks import JSON

__all__ = ["FORMAT", "Manifest"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What identifies a run. Two runs with equal manifests may share a directory.

    Args:
        pass_name: The pass that runs, such as ``"regions"``.
        parameters: Everything that changes the results besides the context: domain, tolerances,
            rule of the tasks.
        context_digest: Digest of the context.
        version: Version of the package that made the directory; noted, not compared.
    """

    pass_name: str
    parameters: Mapping[str, JSON]
    context_digest: str
    version: str

    def write(self, path: Path) -> None:
        """Put the manifest in place, unless there is one already.

        Raises:
            FileExistsError: If there is one already.
        """
        fields = {
            "format": FORMAT,
            "version": self.version,
            "pass": self.pass_name,
            "parameters": self.parameters,
            "context": self.context_digest,
        }
        text = json.dumps(fields, indent=2, sort_keys=True, allow_nan=False) + "\n"
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with draft.open("xb") as stream:
                stream.write(text.encode())
                stream.flush()
                os.fsync(stream.fileno())
            move_to_free_name(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            FileNotFoundError: If there is none.
            JournalError: If the file is damaged.
            RunMismatchError: If a newer version of the package wrote it.
        """
        try:
            fields = json.loads(path.read_bytes())
            number = fields["format"]
            if type(number) is int and number > FORMAT:
                raise RunMismatchError(
                    f'{path} has "format" {number}, this version of byways reads up to {FORMAT}; '
                    "install a newer byways, or use another directory"
                )
            found = cls(fields["pass"], fields["parameters"], fields["context"], fields["version"])
            texts = (found.pass_name, found.context_digest, found.version)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            line = getattr(error, "lineno", 1)
            raise JournalError(f"{path} is damaged: {error!r}", path, line) from error
        whole = number == FORMAT and isinstance(found.parameters, dict)
        if not whole or not all(isinstance(text, str) for text in texts):
            raise JournalError(f"{path} is damaged: its fields are not those of a run", path, 1)
        return found

    def compare(self, asked: Manifest, path: Path) -> None:
        """Refuse if the directory belongs to another run than the one asked for.

        Raises:
            RunMismatchError: If a field differs; the message names it and both values.
        """
        mine, other = _flat(self), _flat(asked)
        # The digest goes last: a parameter that differs says more.
        for name in sorted(mine.keys() | other.keys(), key=lambda n: (n == _DIGEST, n)):
            stored, given = mine.get(name, _ABSENT), other.get(name, _ABSENT)
            if stored != given or isinstance(stored, bool) is not isinstance(given, bool):
                raise RunMismatchError(
                    f'{path} belongs to another run: "{name}" was {stored!r} when it was made and '
                    f"is {given!r} now; use another directory, or the old value"
                )


class _Absent:
    """Stands for a parameter that is not there."""

    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()
_DIGEST = "context digest"


def _flat(manifest: Manifest) -> dict[str, Any]:
    """Give every compared value under its dotted name."""
    values: dict[str, Any] = {
        "pass": manifest.pass_name,
        _DIGEST: manifest.context_digest,
    }
    waiting: list[tuple[str, Any]] = [("parameters", manifest.parameters)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping) and value:
            waiting += [(f"{name}.{key}", inner) for key, inner in value.items()]
        else:
            values[name] = value
    return values
