"""Run directories: long work that can stop at any moment and go on later.

::

    RUN/manifest.json           written once: format, pass, parameters, digest of the context
    RUN/context.npz             the context, by its own ``save``
    RUN/secret                  seals the lines of the journals
    RUN/journal/WORKER.jsonl    one line for each finished task, one writer for each file
    RUN/shards/WORKER-000.npz   the arrays of many results

There is no database and no lock. Every process that writes has its own files, named after its
host, its process and a random number, so two masters on one directory do no harm: they may compute
a task twice, and it is counted once.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from byways.core.errors import RunMismatchError
from byways.runs._files import sync_directory
from byways.runs._journal import JournalWriter, worker_name
from byways.runs._manifest import Manifest
from byways.runs._reader import Finished, Reader
from byways.runs._seals import RunSeals
from byways.runs._secret import SECRET, Secret
from byways.runs._tail import Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from byways.runs._tasks import JSON, Context, Result, StoredContext

__all__ = ["RunDirectory", "RunStatus"]

_MANIFEST, _CONTEXT, _JOURNAL, _SHARDS = "manifest.json", "context.npz", "journal", "shards"
_C = TypeVar("_C", bound="Context")


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What a run directory holds.

    Args:
        tasks: Number of finished tasks.
        seconds: Sum of the seconds that they took.
        counts: Sum of their counts by name.
        writers: Number of processes that wrote a journal.
    """

    tasks: int
    seconds: float
    counts: Mapping[str, int | float]
    writers: int


class RunDirectory:
    """A directory that keeps the results of a run as they arrive.

    Make one with ``create``, ``open`` or ``create_or_resume``, and close it, best as a context
    manager. Nothing in it is ever executed: it holds JSON and ``.npz`` files without pickles.

    A journal with a broken line, or a shard with a wrong checksum, ends in a ``JournalError``
    that names the file. Delete the damaged shard or line and resume: a task whose line or shard is
    missing counts as not done, and is computed again.

    Each line is sealed with a secret of the run. One that somebody else wrote or changed is
    refused, and a log says so; its task counts as not done. Who cannot read the secret can read
    the results, unchecked.

    Example:
        >>> import tempfile, byways as bw
        >>> from byways.runs import Result, RunDirectory
        >>> chain = bw.LayerChain.from_arrays([([[1.0]], [0.0]), ([[2.0]], [1.0])])
        >>> folder = tempfile.TemporaryDirectory()
        >>> with RunDirectory.create(
        ...     f"{folder.name}/demo", pass_name="demo", parameters={"depth": 3}, context=chain
        ... ) as run:
        ...     run.append(Result("b", counts={"regions": 2}))
        ...     run.append(Result("a", counts={"regions": 1}))
        >>> with RunDirectory.open(f"{folder.name}/demo") as run:
        ...     [result.key for result in run.results()], run.status().counts
        (['a', 'b'], {'regions': 3})
        >>> folder.cleanup()
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path = path
        self._manifest = manifest
        self._seals = RunSeals(path, manifest)
        self._reader = Reader(path / _JOURNAL, path / _SHARDS, self._seals.results)
        self._writer: JournalWriter | None = None
        self._closed = False

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        pass_name: str,
        parameters: Mapping[str, JSON],
        context: StoredContext,
    ) -> Self:
        """Make the directory of a new run.

        Args:
            path: The directory; it may exist if it is empty.
            pass_name: The pass that runs, such as ``"regions"``.
            parameters: Everything that changes the results besides the context, such as the
                tolerance and the rule that cuts the work into tasks, as JSON. What does not
                change them, such as the number of workers, does not belong here.
            context: The context of all tasks; it needs ``save`` and ``load``.

        Returns:
            The open run directory.

        Raises:
            FileExistsError: If the directory is in use, by a run or by other files.
            TypeError: If the context cannot be saved, or the parameters are not JSON.
            ValueError: If the parameters contain a number that is not finite.
        """
        root = Path(path).absolute()
        asked = Manifest.of(pass_name, parameters, context)
        _check_free(root)
        for folder in (root, root / _JOURNAL, root / _SHARDS):
            folder.mkdir(parents=True, exist_ok=True)
        draft = root / f".{secrets.token_hex(4)}.part.npz"
        try:
            context.save(draft)
            draft.replace(root / _CONTEXT)
        finally:
            draft.unlink(missing_ok=True)
        asked = asked.sealed(Secret.make(root))
        asked.write(root / _MANIFEST)  # last: a directory with a manifest is complete
        sync_directory(root)
        return cls(root, asked)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the directory of an earlier run, to read it or to go on.

        Nothing is written before the first ``append``, so a directory that cannot be written
        can be read.

        Args:
            path: The directory.

        Returns:
            The open run directory.

        Raises:
            FileNotFoundError: If it is not a run directory.
            JournalError: If its manifest is damaged.
            RunMismatchError: If a newer version of the package wrote it, or its manifest or secret
                was changed.
        """
        root = Path(path).absolute()
        if not (root / _MANIFEST).is_file():
            raise FileNotFoundError(
                f'"path" was {str(path)!r}, which has no {_MANIFEST}; it must be the directory of '
                "an earlier run"
            )
        return cls(root, Manifest.read(root / _MANIFEST))

    @classmethod
    def create_or_resume(
        cls,
        path: str | Path,
        *,
        pass_name: str,
        parameters: Mapping[str, JSON],
        context: StoredContext,
    ) -> Self:
        """Open the directory of this very run, or make it if there is none.

        Args:
            path: The directory.
            pass_name: As for ``create``.
            parameters: As for ``create``.
            context: As for ``create``.

        Returns:
            The open run directory.

        Raises:
            FileExistsError: If the directory is in use by other files.
            JournalError: If its manifest is damaged.
            PermissionError: If its secret is not ours to read.
            RunMismatchError: If it belongs to another pass, context or parameters; the message
                names the field and both values.
        """
        root = Path(path).absolute()
        if not (root / _MANIFEST).is_file():
            # Another process may be making the same directory: the first manifest stands.
            with contextlib.suppress(FileExistsError):
                return cls.create(root, pass_name=pass_name, parameters=parameters, context=context)
            if not (root / _MANIFEST).is_file():
                _check_free(root)
        found = cls.open(root)
        found._manifest.compare(Manifest.of(pass_name, parameters, context), root)
        found.seals.require()
        return found

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    @property
    def seals(self) -> RunSeals:
        """The seals of the run.

        :meta private:
        """
        return self._seals

    @property
    def context_path(self) -> Path:
        """The file that holds the context."""
        return self._path / _CONTEXT

    @property
    def context_digest(self) -> str:
        """Digest of the context that the run belongs to."""
        return self._manifest.context_digest

    @property
    def pass_name(self) -> str:
        """The pass that the run belongs to."""
        return self._manifest.pass_name

    @property
    def parameters(self) -> Mapping[str, JSON]:
        """The parameters of the run, as they came back from JSON."""
        return self._manifest.parameters

    def load_context(self, load: Callable[[Path], _C]) -> _C:
        """Read the context back.

        Args:
            load: The class method that reads what the context's ``save`` wrote.

        Returns:
            The context.

        Raises:
            RunMismatchError: If the file holds another context than the manifest says.
        """
        context = load(self.context_path)
        if context.digest() != self.context_digest:
            raise RunMismatchError(
                f'{self.context_path} has the "context digest" {context.digest()!r}, the manifest '
                f"says {self.context_digest!r}; put the right file back"
            )
        return context

    def append(self, result: Result) -> None:
        """Take a result. It is written soon, at the latest by ``flush`` or ``close``.

        Args:
            result: A result; a second one with the same key is ignored when reading.

        Raises:
            OSError: If it cannot be written, or its secret not be read.
            ValueError: If the directory was closed.
        """
        if self._closed:
            raise ValueError(f"{self._path} was closed; open it again to append results")
        if self._writer is None:
            self._seals.require()
            folders = self._path / _JOURNAL, self._path / _SHARDS
            self._writer = JournalWriter(*folders, worker_name(), self._seals.results)
        self._writer.append(result)

    def flush(self) -> None:
        """Hand everything that was appended to the operating system."""
        if self._writer is not None and not self._closed:
            self._writer.flush()

    def sync(self) -> None:
        """Make everything that was appended survive the death of the machine."""
        if self._writer is not None and not self._closed:
            self._writer.flush()
            self._writer.sync()

    def follow(self) -> Tail:
        """Follow the results of all writers, from the first on."""
        return Tail(self._path / _JOURNAL, self._path / _SHARDS, self._seals.results)

    def done_keys(self) -> set[str]:
        """Give the keys of the finished tasks.

        Raises:
            JournalError: If a finished line of a journal is broken.
        """
        self.flush()
        return set(self._reader.index())

    def finished(self) -> Finished:
        """Give the results of the finished tasks by key, without their arrays.

        What is finished later is not among them. Memory holds the keys; a result is read when it
        is asked for.

        Raises:
            JournalError: If a finished line of a journal is broken.
        """
        self.flush()
        return Finished(self._reader)

    def results(self) -> Iterator[Result]:
        """Read all results in the order of their keys.

        Memory holds the keys and one result at a time, whatever the size of the arrays.

        Yields:
            One result for each finished task.

        Raises:
            JournalError: If a line or a shard is damaged.
        """
        finished = self.finished()
        yield from finished.whole(sorted(finished))

    def status(self) -> RunStatus:
        """Sum up what is finished.

        Raises:
            JournalError: If a finished line of a journal is broken.
        """
        seconds, counts, seen, writers = 0.0, dict[str, int | float](), set[str](), set[Path]()
        self.flush()
        for place, entry in self._reader.entries():
            writers.add(place.journal)
            if entry.key not in seen:
                seen.add(entry.key)
                seconds += entry.seconds
                for name, value in entry.counts.items():
                    counts[name] = counts.get(name, 0) + value
        return RunStatus(len(seen), seconds, counts, len(writers))

    def close(self) -> None:
        """Write everything durably and close; a second call does nothing."""
        self._closed = True
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RunDirectory({str(self._path)!r})"


def _check_free(root: Path) -> None:
    """Refuse a directory that holds a run or other files; remains of a failed start are fine."""
    if not root.is_dir():
        return  # also a file in the way: making the directory gives the system's own error
    if (root / _MANIFEST).exists():
        raise FileExistsError(
            f"{str(root)!r} holds a run already; open it, or use create_or_resume to go on with it"
        )
    ours = {_JOURNAL, _SHARDS, _CONTEXT, SECRET}
    foreign = [path.name for path in root.iterdir() if path.name not in ours]
    foreign = [name for name in foreign if not name.startswith(".")]
    foreign += [path.name for path in root.glob(f"{_JOURNAL}/*")]
    if foreign:
        raise FileExistsError(
            f"{str(root)!r} has no {_MANIFEST} but holds {min(foreign)!r}; a new run needs a "
            "directory that is empty or not there yet"
        )
