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
    lines: list[str] = []
    for label, text in _facts(summary):
        body = textwrap.wrap(text, _WIDTH - _LABEL, break_long_words=False) or [""]
        lines.append(f"{label:<{_LABEL}}{body[0]}".rstrip())
        lines += [" " * _LABEL + rest for rest in body[1:]]
    return "\n".join(lines)


def _facts(summary: Summary) -> Iterator[tuple[str, str]]:
    """Give labels and texts from top to bottom."""
    yield "network", _network(summary)
    yield "domain", summary.domain
    solver = f" with {summary.solver}" if summary.solver else ""
    yield "method", f"{summary.method}{solver}, tolerance {summary.tolerance:g}"
    yield "", ""
    yield "regions", f"{summary.regions:,}{'' if summary.outcome.complete else ' so far'}"
    if summary.layer_counts:
        yield "per layer", " -> ".join(f"{count:,}" for count in summary.layer_counts)
    yield from _rank_lines(summary)
    yield "ambiguous", f"{summary.ambiguous:,} decision{'' if summary.ambiguous == 1 else 's'}"
    yield "", ""
    yield "seconds", _seconds(summary)
    if summary.rate is not None and summary.regions:
        per_worker = " per worker" if summary.earlier else ""
        yield "regions/s", f"{summary.rate:,.0f}{per_worker}"
    if not summary.outcome.complete:
        yield "explored", f"{100 * summary.explored:.1f} %"
    if summary.digest is not None:
        yield "digest", summary.digest[:12]
    for kind, path in summary.files.items():
        yield kind.replace("_", " "), path
    if not summary.outcome.complete:
        yield "", ""
        yield "partial", _what_next(summary)


def _what_next(summary: Summary) -> str:
    """Say why there is no more, and how to get it."""
    run_dir = summary.files.get("run_dir")
    if run_dir is None and summary.outcome.name == "INTERRUPTED":
        return "interrupted; to be able to go on after a stop, give --run-dir DIR"
    if run_dir is None:
        return in_options(summary.outcome.value)
    why = in_options(summary.outcome.value).partition(";")[0]
    return f"{why}; to go on: byways resume {shlex.quote(run_dir)}"


def _network(summary: Summary) -> str:
    widths = " -> ".join(map(str, summary.widths))
    hidden = list(dict.fromkeys(name for name in summary.activations if name != "identity"))
    kinds = f", {' and '.join(hidden)}" if hidden else ", linear"
    return f"{summary.source + ', ' if summary.source else ''}{widths}{kinds}"


def _rank_lines(summary: Summary) -> Iterator[tuple[str, str]]:
    """Give one line per rank, with its share of the regions."""
    if not summary.ranks:
        return
    label = "map rank"
    wide = len(f"{max(summary.ranks.values()):,}")
    digits = len(str(max(summary.ranks)))
    for rank, count in summary.ranks.items():
        share = _share(count, summary.ranks_of)
        yield label, f"{rank:>{digits}}   {count:>{wide},}   {share}"
        label = ""
    if summary.ranks_of < summary.regions:
        yield "", f"(of {summary.ranks_of:,} regions, chosen evenly)"


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
