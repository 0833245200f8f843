"""The seals of a run directory: whose results count, and who may hand out work."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import TYPE_CHECKING

from byways.core.errors import RunMismatchError
from byways.runs._messages import Seal
from byways.runs._secret import SECRET, UNSEALED, VARIABLE, ResultSeal, Secret

if TYPE_CHECKING:
    from pathlib import Path

    from byways.runs._manifest import Manifest
    from byways.runs._secret import LineSeal

__all__ = ["RunSeals"]

_LOGGER = logging.getLogger("byways.runs")


class RunSeals:
    """The seals of a run directory.

    A directory made before results were sealed has none; its results are taken as they are. Where
    the secret cannot be read, results are taken unchecked and nothing can be added; both is told.

    Args:
        root: The run directory.
        manifest: What it says about itself.

    Raises:
        RunMismatchError: If the manifest was changed, the secret exchanged, or both say different
            things about whether results are sealed.
    """

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self._root = root
        self._manifest = manifest
        self._secret: Secret | None = None
        self._doubt: OSError | None = None
        if manifest.seal is None:
            self._check_age()
            return
        try:
            self._secret = Secret.read(root)
        except OSError as error:
            if error.filename != str(root / SECRET):
                raise  # the file outside
            self._doubt = error
            _tell(f"nobody checked who wrote the results in {root}: its secret cannot be read")
            return
        if not manifest.holds(self._secret):
            raise RunMismatchError(
                f"the manifest of {root} is not sealed with the secret of the run: somebody else "
                f"changed the manifest or {SECRET!r}, or {VARIABLE} is not set as it was when the "
                "run was made; put back what was changed, or use another directory"
            )

    @property
    def results(self) -> LineSeal:
        """The seal of the journals."""
        return self._lines("results")

    def partial(self, session: str) -> LineSeal:
        """Give the seal of results that a limit cut short: none can pass for a whole one."""
        return self._lines(f"partial {session}")

    def messages(self) -> Seal:
        """Give the seal of messages to workers.

        Raises:
            OSError: If the secret cannot be read.
        """
        self.require()
        secret = self._secret
        if secret is None:  # an old directory has a secret for its messages only
            folder = self._root / "queue"
            folder.mkdir(exist_ok=True)
            secret = Secret.make(folder)
        key = secret.derive("messages", self._manifest.content)
        return Seal(key, self._manifest.context_digest)

    def require(self) -> None:
        """Refuse to go on where nothing can be checked or sealed.

        Raises:
            OSError: If the secret cannot be read.
        """
        if self._doubt is not None:
            raise self._doubt

    def _lines(self, purpose: str) -> LineSeal:
        if self._secret is None:
            return UNSEALED
        return ResultSeal(self._secret.derive(purpose, self._manifest.content))

    def _check_age(self) -> None:
        """Refuse a directory that only pretends to be older than seals."""
        if (self._root / SECRET).exists() or os.environ.get(VARIABLE):
            raise RunMismatchError(
                f"the manifest of {self._root} says that its results are not sealed, but there is "
                f"a secret ({self._root / SECRET} or {VARIABLE}): somebody may have changed the "
                "manifest; put the right one back, or use another directory"
            )
        _tell(f"nobody can check who wrote the results in {self._root}: they are not sealed")


@lru_cache(64)  # each text once in a process
def _tell(text: str) -> None:
    _LOGGER.warning("%s", text)
