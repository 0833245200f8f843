"""The manifest of a run directory: what the run computes, and for whom."""

from __future__ import annotations

import hmac
import importlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byways.core.errors import JournalError, RunMismatchError
from byways.runs._files import move_to_free_name
from byways.runs._tasks import JSON

if TYPE_CHECKING:
    from byways.runs._secret import Secret
    from byways.runs._tasks import StoredContext

__all__ = ["FORMAT", "Manifest"]

FORMAT = 2
_UNSEALED = 1  # the format before results were sealed


@dataclass(frozen=True, slots=True)
class Manifest:
    """What identifies a run. Two runs with equal manifests may share a directory.

    Args:
        pass_name: The pass that runs, such as ``"regions"``.
        parameters: Everything that changes the results besides the context: domain, tolerances,
            rule of the tasks.
        context_digest: Digest of the context.
        version: Version of the package that made the directory; noted, not compared.
        seal: Shows who knows the secret of the run that all this is as it was; None in a directory
            of a time when results were not sealed.
    """

    pass_name: str
    parameters: Mapping[str, JSON]
    context_digest: str
    version: str
    seal: str | None = None

    @classmethod
    def of(cls, pass_name: str, parameters: Mapping[str, JSON], context: StoredContext) -> Manifest:
        """Describe a run, its parameters as they come back from JSON.

        Raises:
            TypeError: If the context cannot be saved, or the parameters are not JSON.
            ValueError: If the parameters contain a number that is not finite.
        """
        for method in ("digest", "save"):
            if not callable(getattr(context, method, None)):
                raise TypeError(
                    f'"context" was {context!r}; a context in a run directory needs the method '
                    f'"{method}"'
                )
        if not isinstance(pass_name, str):
            raise TypeError(f'"pass_name" was {pass_name!r}; it must be a str')
        try:
            plain = json.loads(json.dumps(dict(parameters), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise type(error)(
                f'"parameters" was {parameters!r}, which is not JSON: {error}; it takes text, '
                "finite numbers, booleans, None, lists and dictionaries"
            ) from error
        # Imported by name: the façade mentions every pass, and runs must not depend on passes.
        version = importlib.import_module("byways").__version__
        return cls(pass_name, plain, context.digest(), version)

    @property
    def content(self) -> bytes:
        """What is sealed, in bytes that are the same after reading and writing it again."""
        fields = [self.version, self.pass_name, self.parameters, self.context_digest]
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    def sealed(self, secret: Secret) -> Manifest:
        """Give the same manifest with its seal."""
        return replace(self, seal=secret.derive("manifest", self.content).hex())

    def holds(self, secret: Secret) -> bool:
        """Tell whether the seal was made with a secret."""
        seal = secret.derive("manifest", self.content)
        return self.seal is not None and hmac.compare_digest(
            self.seal.encode(), seal.hex().encode()
        )

    def write(self, path: Path) -> None:
        """Put the manifest in place, unless there is one already.

        Raises:
            FileExistsError: If there is one already.
        """
        fields = {
            "format": _UNSEALED if self.seal is None else FORMAT,
            "version": self.version,
            "pass": self.pass_name,
            "parameters": self.parameters,
            "context": self.context_digest,
        }
        if self.seal is not None:
            fields["seal"] = self.seal
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
            seal = None if number == _UNSEALED else fields["seal"]
            found = cls(
                fields["pass"], fields["parameters"], fields["context"], fields["version"], seal
            )
            texts = (found.pass_name, found.context_digest, found.version, seal or "")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            line = getattr(error, "lineno", 1)
            raise JournalError(f"{path} is damaged: {error!r}", path, line) from error
        whole = type(number) is int and 1 <= number <= FORMAT and isinstance(found.parameters, dict)
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
