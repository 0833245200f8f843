"""What a run found, ready to be printed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.domains import Box, Polytope
from byways.regions import Outcome, RegionReport, Slice, WholeSpace

if TYPE_CHECKING:
    from byways.regions._outcome import Answer
    from byways.regions._question import Question

__all__ = ["Summary", "as_json", "summarize"]

_FEW = 3
_RANKS_OF = 100_000  # regions; more are sampled evenly, since each takes a singular value problem


@dataclass(frozen=True, slots=True)
class Summary:
    """The facts of a run.

    Attributes:
        source: Name of the example or file; empty where it is not known.
        widths: Inputs, units per layer, outputs.
        activations: Name of each layer's activation.
        network_digest: SHA-256 of the network.
        domain: The domain in words.
        method: The method that was used.
        solver: Its solver, for ``lp``.
        tolerance: Below it a decision is ambiguous.
        regions: Number of regions found.
        layer_counts: Cells after each hidden layer.
        ranks: Rank of the affine map -> number of regions; None for a count.
        ranks_of: Number of regions whose rank was computed.
        ambiguous: Ambiguous decisions.
        exact: "float" or "certified".
        maxima: "winners" or "matches"; None if there is no maximum of more than two numbers.
        rational: Decisions that took rational arithmetic; None without certificates.
        outcome: How the run ended.
        explored: Share of the work that is done.
        seconds: Wall time of this session.
        task_seconds: Time inside the tasks, of all sessions; None where it is not known.
        earlier: Tasks that were read instead of computed.
        digest: SHA-256 of the report; None for a count.
        files: What was written: kind -> path.
    """

    source: str
    widths: tuple[int, ...]
    activations: tuple[str, ...]
    network_digest: str
    domain: str
    method: str
    solver: str | None
    tolerance: float
    regions: int
    layer_counts: tuple[int, ...]
    ranks: dict[int, int] | None
    ranks_of: int
    ambiguous: int
    exact: str
    maxima: str | None
    rational: int | None
    outcome: Outcome
    explored: float
    seconds: float
    task_seconds: float | None
    earlier: int
    digest: str | None
    files: dict[str, str]

    @property
    def rate(self) -> float | None:
        """Regions per second, of wall time if all were found in this session."""
        seconds = self.task_seconds if self.earlier else self.seconds
        return self.regions / seconds if seconds else None


def summarize(
    question: Question,
    found: Answer | RegionReport,
    *,
    source: str,
    report: RegionReport | None,
    earlier: int,
    files: dict[str, str],
) -> Summary:
    """Collect the facts of a run."""
    if isinstance(found, RegionReport):
        total, spent = len(found), None
    else:
        total, spent = len(report) if report is not None else found.total, found.task_seconds
    ranks = None if report is None else _ranks(report)
    chain = question.chain
    return Summary(
        source=source,
        widths=chain.widths,
        activations=tuple(layer.activation.name or "custom" for layer in chain.layers),
        network_digest=chain.digest(),
        domain=domain_text(question),
        method=question.method,
        solver=question.solver if question.method == "lp" else None,
        tolerance=question.tolerance,
        regions=total,
        layer_counts=(found if report is None else report).layer_counts,
        ranks=ranks,
        ranks_of=sum((ranks or {}).values()),
        ambiguous=(found if report is None else report).ambiguous,
        exact=question.exact,
        maxima=question.maxima if any(len(window) > 1 for window in chain.windows) else None,
        rational=None if report is None or report.certificate is None else report.rational,
        outcome=found.outcome,
        explored=found.explored,
        seconds=found.seconds,
        task_seconds=spent,
        earlier=earlier,
        digest=None if report is None else report.digest(),
        files=files,
    )


def as_json(summary: Summary) -> dict[str, Any]:
    """Give what ``--json`` prints. The keys are part of the interface.

    They are ``format`` ("byways.regions/1"), ``network`` (``source``, ``widths``, ``activations``,
    ``digest``), ``domain``, ``method``, ``solver`` (null but for lp), ``tolerance``, ``regions``,
    ``layer_counts``, ``ranks`` (rank as text -> regions, null for a count), ``ranks_of`` (regions
    whose rank was computed), ``ambiguous``, ``exact`` (float or certified), ``maxima`` (winners or
    matches, null if there are none), ``rational`` (decisions in rational arithmetic, null for
    float), ``outcome`` (COMPLETE,
    MAX_REGIONS, TIME_LIMIT or INTERRUPTED), ``complete``, ``explored``, ``seconds``,
    ``task_seconds``, ``earlier_tasks``, ``regions_per_second``, ``digest`` (null for a count),
    ``files`` (kind -> path).
    """
    ranks = summary.ranks
    return {
        "format": "byways.regions/1",
        "network": {
            "source": summary.source or None,
            "widths": list(summary.widths),
            "activations": list(summary.activations),
            "digest": summary.network_digest,
        },
        "domain": summary.domain,
        "method": summary.method,
        "solver": summary.solver,
        "tolerance": summary.tolerance,
        "regions": summary.regions,
        "layer_counts": list(summary.layer_counts),
        "ranks": None if ranks is None else {str(rank): n for rank, n in ranks.items()},
        "ranks_of": summary.ranks_of,
        "ambiguous": summary.ambiguous,
        "exact": summary.exact,
        "maxima": summary.maxima,
        "rational": summary.rational,
        "outcome": summary.outcome.name,
        "complete": summary.outcome.complete,
        "explored": summary.explored,
        "seconds": summary.seconds,
        "task_seconds": summary.task_seconds,
        "earlier_tasks": summary.earlier,
        "regions_per_second": summary.rate,
        "digest": summary.digest,
        "files": summary.files,
    }


def domain_text(question: Question) -> str:
    """Say for a person which domain it is."""
    domain = question.domain
    if isinstance(domain, WholeSpace):
        return f"all of R^{domain.dim}"
    if isinstance(domain, Slice):
        return f"slice along {domain.dim} directions of R^{domain.origin.size}"
    if isinstance(domain, Polytope):
        return f"polytope, {len(domain.b)} inequalities inside {_box_text(domain.box)}"
    return _box_text(domain)


def _box_text(box: Box) -> str:
    sides = [f"[{lo:.6g}, {hi:.6g}]" for lo, hi in zip(box.lower, box.upper, strict=True)]
    if len(set(sides)) == 1:
        return sides[0] + (f"^{box.dim}" if box.dim > 1 else "")
    if box.dim <= _FEW:  # more would not fit a line
        return " x ".join(sides)
    fixed = f", {box.flat_axes.size} of them fixed" if box.flat_axes.size else ""
    widest = np.ptp([box.lower, box.upper], axis=0).max()
    return f"a box of {box.dim} inputs{fixed}, widest side {widest:.6g}"


def _ranks(report: RegionReport) -> dict[int, int]:
    """Count the ranks, largest first."""
    few = report
    if len(report) > _RANKS_OF:
        chosen = np.linspace(0, len(report) - 1, _RANKS_OF).astype(np.intp)
        few = replace(report, words=report.words[chosen], points=report.points[:0])
    values, counts = np.unique(few.ranks(), return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return dict(sorted(pairs, reverse=True))
