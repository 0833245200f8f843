"""The one place where the command line meets the inside of ``byways.regions``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from byways.cli._elsewhere import Crew, quiet
from byways.cli._errors import Misuse, as_misuse
from byways.cli._progress import LiveLine
from byways.core.errors import RunMismatchError
from byways.regions._bounds import refuse_if_astronomical
from byways.regions._gather import Manner, gather
from byways.regions._gather import recall as recall_run
from byways.regions._outcome import Answer, Limits
from byways.regions._question import Question, require_whole
from byways.regions._work import work
from byways.runs import RunDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from byways.cli._options import ElsewhereOptions, LimitOptions, MethodOptions
    from byways.core.chain import LayerChain
    from byways.runs import Result, Task

__all__ = [
    "answer",
    "ask",
    "count_earlier",
    "job",
    "limits",
    "load_question",
    "recall",
    "worker_count",
]


def ask(chain: LayerChain, domain: object, options: MethodOptions, *, listing: bool) -> Question:
    """Check the question.

    Raises:
        Misuse: If an option does not fit the network or the domain.
    """
    with as_misuse():
        return Question.ask(
            chain,
            domain,
            method=options.method,
            solver=options.solver,
            exact=options.exact,
            maxima=options.maxima,
            tolerance=options.tolerance,
            keep=("signs", "witness") if listing else None,
        )


def limits(options: LimitOptions) -> Limits:
    """Check the limits.

    Raises:
        Misuse: If one is not positive.
    """
    with as_misuse():
        return Limits(options.max_regions, options.time_limit)


def worker_count(text: str) -> int | None:
    """Read ``--workers``; None for all cores.

    Raises:
        Misuse: If it is neither a number from 1 nor "all".
    """
    if text == "all":
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise Misuse(f'--workers was {text!r}; give a whole number from 1, or "all" for all cores')
    return int(text)


def crew(workers: str, elsewhere: ElsewhereOptions, run_dir: Path | None) -> Crew:
    """Check who shall compute."""
    return Crew(worker_count(workers), run_dir, elsewhere)


def count_earlier(question: Question, run_dir: Path | None) -> int:
    """Count the tasks that earlier sessions left in a run directory.

    Raises:
        Misuse: If it is a file.
        RunMismatchError: If they belong to another question.
    """
    if run_dir is not None and run_dir.exists() and not run_dir.is_dir():
        raise Misuse(f"--run-dir was {str(run_dir)!r}, which is a file; name a directory")
    if run_dir is None or not (run_dir / "manifest.json").is_file():
        return 0
    _compare(load_question(run_dir), question, run_dir)
    with RunDirectory.open(run_dir) as run:
        return run.status().tasks


def _compare(stored: Question, asked: Question, run_dir: Path) -> None:
    """Refuse another question, in words that a person can act on."""
    advice = f"use another --run-dir, or byways resume {shlex.quote(str(run_dir))} for the old run"
    place = f"--run-dir was {str(run_dir)!r}, which belongs to another run"
    if stored.chain.digest() != asked.chain.digest():
        widths = " -> ".join(map(str, stored.chain.widths))
        raise RunMismatchError(f"{place}: its network is another one, {widths}; {advice}")
    if stored.listing != asked.listing:
        kinds = "lists regions and this one counts", "counts and this one lists regions"
        raise RunMismatchError(f"{place}: it {kinds[not stored.listing]}; {advice}")
    now = asked.parameters()
    for name, value in stored.parameters().items():
        if value != now[name]:
            raise RunMismatchError(
                f"{place}: its {name} was {value!r} and is {now[name]!r} now; {advice}"
            )


def answer(question: Question, bounds: Limits, who: Crew, *, refuse: bool) -> Answer:
    """Compute, with a live line on standard error.

    Raises:
        DomainError: If ``refuse`` and the number of regions could be astronomical.
    """
    with as_misuse():
        require_whole(question, bounds)
    if refuse:
        refuse_if_astronomical(question, bounds)
    quiet()
    with who.executor() as executor:
        who.tell_how()
        with LiveLine() as line:
            manner = Manner(who.workers, executor, who.run_dir, line, who.options.queue)
            return gather(question, bounds, manner)


def load_question(run_dir: Path) -> Question:
    """Read what a run directory is about.

    Raises:
        FileNotFoundError: If there is no run in it.
        Misuse: If it belongs to another pass.
    """
    if not (run_dir / "manifest.json").is_file():
        raise FileNotFoundError(
            f"there is no run in {str(run_dir)!r}; give a directory that was the --run-dir of "
            "byways regions or byways count"
        )
    with RunDirectory.open(run_dir) as run:
        if run.pass_name != "regions":
            raise Misuse(
                f"{str(run_dir)!r} holds a run of {run.pass_name!r}; give the directory of a run "
                "of byways regions or byways count"
            )
        return run.load_context(Question.load)


def recall(question: Question, run_dir: Path) -> Answer:
    """Put together what a run directory holds, without going on."""
    with RunDirectory.open(run_dir) as run:
        return recall_run(question, run)


def job() -> tuple[Callable[[Question, Task], Result], Callable[[Path], Question]]:
    """Give what a worker needs besides a run directory: how to work, and how to load the question.

    There is one pass that hands out work; a second one makes this a choice by ``pass_name``.
    """
    return work, Question.load
