"""``byways regions``."""

from __future__ import annotations

from byways.cli._options import (
    Debug,
    DomainOptions,
    ElsewhereOptions,
    Json,
    LimitOptions,
    MethodOptions,
    Network,
    Plot,
    Points,
    ProofFile,
    RunDir,
    Save,
    SourceOptions,
    Workers,
)

__all__ = ["EPILOGUE", "regions"]

EPILOGUE = """\
Examples:
  byways regions --example moons --plot moons.png
  byways regions model.onnx --box=-1,1 --workers all --run-dir runs/model
  byways regions model.onnx --around image.npy --eps 0.01 --clip 0,1 --json
  byways regions model.onnx --vnnlib property.vnnlib
  byways regions model.onnx --box=-1,1 --exact certified --proof proof.npz
"""


def regions(
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
    plot: Plot = None,
    points: Points = None,
    save: Save = None,
    proof: ProofFile = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """List every activation region of a network on a domain."""
    from byways.cli import _compute, _inputs
    from byways.cli._output import Outputs

    found = _inputs.read_source(network, source)
    if domain.vnnlib is not None:
        from byways.cli._unsafe import unsafe

        exact = None if how.exact == "float" else how.exact
        files: dict[str, object] = {"--plot": plot, "--points": points, "--save": save}
        files |= {"--run-dir": run_dir, "--proof": proof, "--exact": exact}
        files["--maxima"] = None if how.maxima == "winners" else how.maxima
        return unsafe(found, domain, how, limits, workers, elsewhere, files, as_json=json)
    question = _compute.ask(found.chain, _inputs.read_domain(domain, found), how, listing=True)
    bounds, who = _compute.limits(limits), _compute.crew(workers, elsewhere, run_dir)
    outputs = Outputs(json=json, plot=plot, points=points, save=save, proof=proof, run_dir=run_dir)
    picture = outputs.prepare(question, found)
    earlier = _compute.count_earlier(question, run_dir)
    answer = _compute.answer(question, bounds, who, refuse=True)
    return outputs.give(question, answer, found, picture=picture, earlier=earlier)
