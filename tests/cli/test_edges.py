"""``byways order`` and ``byways bench-sparse``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from byways.core import LayerChain
from byways.sparse_inference import EdgeGraph, EdgeOrder, order_edges, simulate
from tests.cli.conftest import Run


@pytest.fixture
def net(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(30, 30)) * (rng.random((30, 30)) < 0.2) for _ in range(3)]
    path = tmp_path / "net.npz"
    LayerChain.from_arrays([(w, rng.normal(size=30)) for w in weights]).save(path)
    return path


def test_an_order_is_found_counted_and_saved(run: Run, net: Path, tmp_path: Path) -> None:
    saved = tmp_path / "order.npz"
    done = run("order", net, "--cache", 8, "--method", "ego", "--report", "--save", saved, "--json")
    assert done.code == 0
    rows = {row["method"]: row for row in done.json["orders"]}
    assert list(rows) == ["ego", "destination", "source", "random"]
    graph = EdgeGraph.from_chain(LayerChain.load(net))
    for method, row in rows.items():
        expected = simulate(graph, order_edges(graph, method, memory=9), memory=9)
        assert (row["reads"], row["writes"]) == (expected.reads, expected.writes)
    assert EdgeOrder.load(saved).is_valid(graph)
    assert done.json["network"]["edges"] == graph.edges


def test_the_table_names_the_best_order(run: Run, net: Path) -> None:
    done = run("order", net, "--cache", 8)
    assert done.code == 0
    assert "30" not in done.err
    assert f"{EdgeGraph.from_chain(LayerChain.load(net)).edges:,} edges" in done.out
    assert "to bound" in done.out


def test_a_picture_of_the_orders(run: Run, net: Path, tmp_path: Path) -> None:
    done = run("order", net, "--cache", 8, "--report", "--plot", tmp_path / "io.png")
    assert done.code == 0
    assert (tmp_path / "io.png").stat().st_size > 5_000


def test_speed_is_compared_with_equal_outputs(run: Run, net: Path) -> None:
    done = run("bench-sparse", net, "--batch", 64, "--json")
    assert done.code == 0
    assert done.json["largest_difference"] < 1e-5
    assert set(done.json["seconds"]) == {"byways", "scipy", "numpy dense"}
    assert done.json["files"] == {}
    assert "10^9 edges/s" in run("bench-sparse", net, "--batch", 8).out


def test_networks_that_are_no_stack_of_layers_are_timed_alone(run: Run, tmp_path: Path) -> None:
    """Outputs without edges, constants: what was taken for layers had other outputs."""
    rng, path = np.random.default_rng(0), tmp_path / "net.npz"
    first, second = np.zeros((4, 3)), np.zeros((3, 4))
    first[0, 0], second[0, 1], second[1, 0] = 1.0, 2.0, 1.0
    stacks = (
        [(rng.normal(size=(4, 3)), [0.0, 1.0, 2.0, 3.0]), (np.zeros((2, 4)), [1.0, 2.0])],
        [(first, [0.0, 1.0, 2.0, 3.0]), (second, np.zeros(3)), (rng.normal(size=(2, 3)), [0, 0])],
        [(np.zeros((2, 3)), [1.0, 2.0])],
    )
    for stack in stacks:
        LayerChain.from_arrays(stack).save(path)
        done = run("bench-sparse", path, "--batch", 10, "--json")
        assert done.json["largest_difference"] < 1e-5
        assert set(done.json["seconds"]) == {"byways"}


def test_files_that_cannot_be_written_are_refused_before_the_work(
    run: Run, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worked(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr("byways.cli._edges.order_edges", worked)
    monkeypatch.setattr("byways.cli._edges.compile_network", worked)
    for words in (
        ("order", net, "--save", tmp_path),
        ("order", net, "--plot", tmp_path),
        ("order", net, "--plot", "io.xyz"),
        ("bench-sparse", net, "--plot", "roof.xyz"),
    ):
        done = run(*words)
        assert (done.code, words[2] in done.err) == (2, True)


def test_a_roofline(run: Run, net: Path, tmp_path: Path) -> None:
    done = run("bench-sparse", net, "--batch", 64, "--plot", tmp_path / "roofline.png")
    assert done.code == 0
    assert str(tmp_path / "roofline.png") in done.out
    assert (tmp_path / "roofline.png").stat().st_size > 5_000


def test_a_network_with_tanh_has_edges_but_no_regions(run: Run, tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Tanh", ["a"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    stored = [numpy_helper.from_array(np.ones((3, 2), np.float32), "w")]
    path = tmp_path / "tanh.onnx"
    model = helper.make_model(helper.make_graph(nodes, "tanh", [x], [y], stored))
    path.write_bytes(model.SerializeToString())
    assert run("order", path, "--cache", 8, "--json").json["network"]["edges"] == 6
    assert "6 edges" in run("bench-sparse", path, "--batch", 8).out
    refused = run("regions", path, "--box=-1,1")
    assert (refused.code, "is smooth" in refused.err) == (1, True)


def test_misuse(run: Run, net: Path, tmp_path: Path) -> None:
    done = run("order", net, "--cache", 1)
    assert (done.code, "--cache was 1; an edge has two ends" in done.err) == (2, True)
    assert run("order").err.startswith("byways: no network was given")
    (tmp_path / "empty").mkdir()
    assert "holds no layer of the Graph Challenge" in run("order", tmp_path / "empty").err
    assert run("bench-sparse", net, "--batch", 0).code == 2
    threads = run("bench-sparse", net, "--threads", 0)
    assert (threads.code, threads.err) == (2, "byways: --threads was 0; give a positive number\n")
    seed = run("order", net, "--method", "random", "--seed", -1)
    assert (seed.code, seed.err) == (2, "byways: --seed was -1; a seed is not negative\n")
    steps = run("order", net, "--method", "anneal", "--max-steps", 0)
    assert (steps.code, "--max-steps was 0" in steps.err) == (2, True)
    assert "See: byways order --help" in run("order", net, "--metod", "ego").err
