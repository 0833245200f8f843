"""``byways report``."""

from __future__ import annotations

from byways.cli._options import Csv, Debug, Json, Place, Plot, Points, Save

__all__ = ["report"]


def report(
    place: Place,
    /,
    *,
    plot: Plot = None,
    points: Points = None,
    save: Save = None,
    csv: Csv = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Show what a run found so far, without going on with it."""
    from byways.cli import _compute, _inputs
    from byways.cli._output import Outputs
    from byways.core.errors import ConversionError
    from byways.regions import RegionReport

    run_dir = place if place.is_dir() else None
    outputs = Outputs(json=json, plot=plot, points=points, save=save, csv=csv, run_dir=run_dir)
    if run_dir is None:
        if not place.is_file():
            raise FileNotFoundError(
                f"there is no {str(place)!r}; give a run directory, or a report saved with --save"
            )
        with place.open("rb") as stream:
            if stream.read(2) != b"PK":  # .npz is a ZIP archive
                raise ConversionError(
                    f"{str(place)!r} is neither a run directory nor a report saved with --save"
                )
        stored = RegionReport.load(place)
        found = _inputs.known_example(stored.question.chain)
        picture = outputs.prepare(stored.question, found)
        return outputs.give(stored.question, stored, found, picture=picture)
    question = _compute.load_question(run_dir)
    found = _inputs.known_example(question.chain)
    picture = outputs.prepare(question, found)
    answer = _compute.recall(question, run_dir)
    earlier = answer.tasks
    return outputs.give(question, answer, found, picture=picture, earlier=earlier)
