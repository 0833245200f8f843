"""The summary as a small table."""

from __future__ import annotations

import math
import shlex
import textwrap
from typing import TYPE_CHECKING

from byways.cli._errors import in_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from byways.cli._summary import Summary

__all__ = ["table"]

_LABEL = 12
_WIDTH = 80


def table(summary: Summary) -> str:
    """Lay a summary out, one fact per line."""
    return "\n".join([*_facts(summary), *_endings(summary)])


def _facts(summary: Summary) -> Iterator[str]:
    """Give the lines of what was asked and found."""
    yield from _row("network", _network(summary))
    yield from _row("domain", summary.domain)
    solver = f" with {summary.solver}" if summary.solver else ""
    yield from _row("method", f"{summary.method}{solver}, tolerance {summary.tolerance:g}")
    yield ""
    yield from _row(
        "regions", f"{summary.regions:,}{'' if summary.outcome.complete else ' so far'}"
    )
    if summary.maxima is not None:
        yield from _row("maxima", f"regions of equal {summary.maxima}")
    if summary.layer_counts:
        yield from _row("per layer", " -> ".join(f"{count:,}" for count in summary.layer_counts))
    yield from _rank_lines(summary)
    plural = "" if summary.ambiguous == 1 else "s"
    yield from _row("ambiguous", f"{summary.ambiguous:,} decision{plural}")
    if summary.rational is not None:
        yield from _row("certified", f"{summary.rational:,} decisions in rational arithmetic")


def _endings(summary: Summary) -> Iterator[str]:
    """Give the lines of what it took, where it is, and what is missing."""
    yield ""
    yield from _row("seconds", _seconds(summary))
    if summary.rate is not None and summary.regions:
        per_worker = " per worker" if summary.earlier else ""
        yield from _row("regions/s", f"{summary.rate:,.0f}{per_worker}")
    if not summary.outcome.complete:
        yield from _row("explored", f"{100 * summary.explored:.1f} %")
    if summary.digest is not None:
        yield from _row("digest", summary.digest[:12])
    # Paths and commands are not wrapped, so that they can be copied.
    for kind, path in summary.files.items():
        yield f"{kind.replace('_', ' '):<{_LABEL}}{path}"
    if summary.outcome.complete:
        return
    yield ""
    run_dir = summary.files.get("run_dir")
    yield from _row("partial", _why(summary, run_dir))
    if run_dir is not None:
        yield f"{'to go on':<{_LABEL}}byways resume {shlex.quote(run_dir)}"


def _row(label: str, text: str) -> Iterator[str]:
    """Give a fact as one line or several."""
    for part in textwrap.wrap(text, _WIDTH - _LABEL) or [""]:
        yield f"{label:<{_LABEL}}{part}"
        label = ""


def _why(summary: Summary, run_dir: str | None) -> str:
    """Say why there is no more."""
    text = in_options(summary.outcome.value)
    if run_dir is not None:
        return text.partition(";")[0]
    if summary.outcome.name == "INTERRUPTED":
        return "interrupted; to be able to go on after a stop, give --run-dir DIR"
    return text


def _network(summary: Summary) -> str:
    widths = " -> ".join(map(str, summary.widths))
    hidden = list(dict.fromkeys(name for name in summary.activations if name != "identity"))
    kinds = f", {' and '.join(hidden)}" if hidden else ", linear"
    return f"{summary.source + ', ' if summary.source else ''}{widths}{kinds}"


def _rank_lines(summary: Summary) -> Iterator[str]:
    """Give one line per rank, with its share of the regions."""
    if not summary.ranks:
        return
    label = "map rank"
    wide = len(f"{max(summary.ranks.values()):,}")
    digits = len(str(max(summary.ranks)))
    for rank, count in summary.ranks.items():
        share = _share(count, summary.ranks_of)
        yield f"{label:<{_LABEL}}{rank:>{digits}}   {count:>{wide},}   {share}"
        label = ""
    if summary.ranks_of < summary.regions:
        yield from _row("", f"(of {summary.ranks_of:,} regions, chosen evenly)")


def _share(count: int, total: int) -> str:
    percent = 100 * count / total
    return " <0.1 %" if percent < 0.05 else f"{percent:5.1f} %"  # else it reads 0.0


def _seconds(summary: Summary) -> str:
    text = f"{summary.seconds:.3g}" if summary.seconds < 100 else f"{summary.seconds:,.0f}"
    if summary.earlier and summary.task_seconds is not None:
        if math.isclose(summary.seconds, summary.task_seconds):
            return f"{text} in the tasks of all sessions"
        return f"{text}, and {summary.task_seconds:.3g} in the tasks of all sessions"
    return text
