"""``byways check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from byways.cli._options import Debug, DomainOptions, Json, SourceOptions

__all__ = ["EPILOGUE", "check"]

EPILOGUE = "Example: byways check model.onnx proof.npz --box=-1,1"


def check(
    network: Annotated[Path, Parameter(help="ONNX file, or a saved chain (.npz).")],
    proof: Annotated[Path, Parameter(help="What byways regions --proof wrote.")],
    /,
    *,
    source: SourceOptions = SourceOptions(),  # noqa: B008  frozen
    domain: DomainOptions = DomainOptions(),  # noqa: B008
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Check a proof of a list of regions; exit code 1 if it is refused."""
    import json as text

    from byways.cli import _inputs
    from byways.cli._errors import COMPLETE, ERROR, as_misuse
    from byways.regions import check_proof

    found = _inputs.read_source(network, source)
    place = _inputs.read_domain(domain, found)
    with as_misuse():
        result = check_proof(found.chain, place, proof)
    facts = {name: getattr(result, name) for name in _FACTS} | {"winners": len(result.winners)}
    print(text.dumps(facts, indent=2) if json else result)
    return COMPLETE if result else ERROR


_FACTS = ("accepted", "regions", "refusals", "reason")
