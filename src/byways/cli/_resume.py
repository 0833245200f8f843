"""``byways resume``."""

from __future__ import annotations

from byways.cli._options import (
    Debug,
    Directory,
    ElsewhereOptions,
    Json,
    LimitOptions,
    Plot,
    Points,
    Save,
    Workers,
)

__all__ = ["resume"]


def resume(
    directory: Directory,
    /,
    *,
    limits: LimitOptions = LimitOptions(),  # noqa: B008  frozen
    workers: Workers = "1",
    elsewhere: ElsewhereOptions = ElsewhereOptions(),  # noqa: B008
    plot: Plot = None,
    points: Points = None,
    save: Save = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Go on with a run that was stopped: same network, domain and method."""
    from byways.cli import _compute, _inputs
    from byways.cli._output import Outputs

    question = _compute.load_question(directory)
    found = _inputs.known_example(question.chain)
    bounds, who = _compute.limits(limits), _compute.crew(workers, elsewhere, directory)
    outputs = Outputs(json=json, plot=plot, points=points, save=save, run_dir=directory)
    picture = outputs.prepare(question, found)
    earlier = _compute.count_earlier(question, directory)
    # Whoever resumes has seen the share explored, and can stop again without loss: no refusal.
    answer = _compute.answer(question, bounds, who, refuse=False)
    return outputs.give(question, answer, found, picture=picture, earlier=earlier)
