"""``byways regions --vnnlib``: the regions that can violate a property."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from byways.cli import _compute
from byways.cli._elsewhere import quiet
from byways.cli._errors import COMPLETE, PARTIAL, Misuse, as_misuse
from byways.cli._progress import LiveLine
from byways.regions import unsafe_regions
from byways.regions._vnnlib import read_vnnlib

if TYPE_CHECKING:
    from byways.cli._inputs import Source
    from byways.cli._options import (
        DomainOptions,
        ElsewhereOptions,
        LimitOptions,
        MethodOptions,
    )
    from byways.regions._unsafe import UnsafeReport
    from byways.regions._vnnlib import Property

__all__ = ["unsafe"]

_SHOWN = 10  # counterexamples in the table
_FEW = 8  # inputs that are written out


def unsafe(
    source: Source,
    domain: DomainOptions,
    how: MethodOptions,
    bounds: LimitOptions,
    workers: str,
    elsewhere: ElsewhereOptions,
    outputs: dict[str, object],
    *,
    as_json: bool,
) -> int:
    """Search, print, and give the exit code."""
    prop = _property(domain, elsewhere, outputs)
    _compute.limits(bounds)
    quiet()
    start = time.perf_counter()
    with LiveLine() as line, as_misuse():
        report = unsafe_regions(
            source.chain,
            prop,
            method=how.method,
            solver=how.solver,
            tolerance=how.tolerance,
            workers=_compute.worker_count(workers),
            max_regions=bounds.max_regions,
            time_limit=bounds.time_limit,
            progress=line,
        )
    facts = _facts(report, source, str(domain.vnnlib), time.perf_counter() - start)
    print(json.dumps(facts, indent=2) if as_json else _table(report, facts))
    sys.stdout.flush()
    return COMPLETE if report.complete else PARTIAL


def _property(
    domain: DomainOptions, elsewhere: ElsewhereOptions, outputs: dict[str, object]
) -> Property:
    """Read the property.

    Raises:
        Misuse: If an option was given that has no meaning beside ``--vnnlib``.
    """
    others: dict[str, object] = {
        "--box": domain.box,
        "--around": domain.around,
        "--slice": domain.slice,
    }
    others |= {"--whole-space": domain.whole_space, **outputs}
    others |= {"--queue": elsewhere.queue, "--scheduler": elsewhere.scheduler}
    given = [name for name, value in others.items() if value]
    if given or domain.vnnlib is None:
        raise Misuse(
            f"{given[0]} was given beside --vnnlib, which says where to look and prints what is "
            "unsafe; leave one of them out"
        )
    return read_vnnlib(domain.vnnlib)


def _facts(report: UnsafeReport, source: Source, path: str, seconds: float) -> dict[str, Any]:
    """Give what ``--json`` prints. The keys are part of the interface.

    ``holds`` is true, false, or null where it is unknown; ``unsafe`` has one object per region.
    """
    return {
        "format": "byways.unsafe/1",
        "network": {
            "source": source.name or None,
            "widths": list(source.chain.widths),
            "digest": source.chain.digest(),
        },
        "property": path,
        "boxes": len(report.reports),
        "regions": sum(len(part) for part in report.reports),
        "unsafe_regions": len(report),
        "holds": report.holds,
        "complete": report.complete,
        "ambiguous": sum(part.ambiguous for part in report.reports),
        "seconds": seconds,
        "unsafe": report.rows(),
    }


def _table(report: UnsafeReport, facts: dict[str, Any]) -> str:
    verdict = {True: "holds", False: "violated", None: "unknown"}[report.holds]
    touching = sum(found.boundary for found in report)
    boxes = "1 box" if facts["boxes"] == 1 else f"{facts['boxes']} boxes"
    lines = [
        f"network     {facts['network']['source'] or 'a chain'}, "
        + " -> ".join(map(str, facts["network"]["widths"])),
        f"property    {facts['property']}",
        f"verdict     {verdict}{'' if report.complete else ', some regions not looked at'}",
        f"regions     {facts['regions']:,} in {boxes}",
        f"unsafe      {len(report):,}, {touching:,} of them only touched",
        f"ambiguous   {facts['ambiguous']:,} decisions",
        f"time        {facts['seconds']:.3g} s",
    ]
    for found in report.unsafe[:_SHOWN]:
        inputs = ", ".join(f"{value:.6g}" for value in found.counterexample[:_FEW])
        outputs = ", ".join(f"{value:.6g}" for value in found.output[:_FEW])
        more = ", .." if found.counterexample.size > _FEW else ""
        lines.append(f"            region {found.region}: ({inputs}{more}) -> ({outputs})")
    if len(report) > _SHOWN:
        lines.append(f"            and {len(report) - _SHOWN:,} more; --json lists all")
    return "\n".join(lines)
