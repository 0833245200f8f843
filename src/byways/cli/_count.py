"""``byways count``."""

from __future__ import annotations

from byways.cli._options import (
    Debug,
    DomainOptions,
    ElsewhereOptions,
    Json,
    LimitOptions,
    MethodOptions,
    Network,
    RunDir,
    SourceOptions,
    Workers,
)

__all__ = ["count"]


def count(
    network: Network = None,
    /,
    *,
    source: SourceOptions = SourceOptions(),  # noqa: B008  frozen
    domain: DomainOptions = DomainOptions(),  # noqa: B008
    how: MethodOptions = MethodOptions(),  # noqa: B008
    limits: LimitOptions = LimitOptions(),  # noqa: B008
    workers: Workers = "1",
    elsewhere: ElsewhereOptions = ElsewhereOptions(),  # noqa: B008
    run_dir: RunDir = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Count the regions without keeping them: memory stays small."""
    from byways.cli import _compute, _inputs
    from byways.cli._output import Outputs

    found = _inputs.read_source(network, source)
    question = _compute.ask(found.chain, _inputs.read_domain(domain, found), how, listing=False)
    bounds, who = _compute.limits(limits), _compute.crew(workers, elsewhere, run_dir)
    earlier = _compute.count_earlier(question, run_dir)
    answer = _compute.answer(question, bounds, who, refuse=True)
    return Outputs(json=json, run_dir=run_dir).give(question, answer, found, earlier=earlier)
