from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from byways.core.activations import clamp, identity, relu
from byways.core.errors import ConversionError, DomainError, ShapeError
from byways.networks import as_chain
from byways.sparse_inference import (
    EdgeGraph,
    compact_growth,
    radix_net,
    random_sparse,
    read_graph_challenge,
)
from tests.sparse_inference.graphs import graph_of, slow


def edges_of(graph: EdgeGraph) -> list[tuple[int, int, float]]:
    columns = graph.sources.tolist(), graph.targets.tolist(), graph.weights.tolist()
    return list(zip(*columns, strict=True))


W = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.0]])


@pytest.mark.parametrize(
    "form",
    [
        W,
        W.tolist(),
        sparse.csr_array(W),
        sparse.coo_array(([0.5, 0.5, 2.0, -1.0], ([0, 0, 0, 1], [0, 0, 2, 1])), shape=(2, 3)),
        torch.tensor(W),
        torch.tensor(W).to_sparse_coo(),
        torch.nn.Parameter(torch.tensor(W, dtype=torch.float32)),
    ],
    ids=["numpy", "list", "csr", "duplicates", "torch", "torch_coo", "parameter"],
)
def test_every_form_of_a_matrix_gives_the_same_edges(form: object) -> None:
    graph = EdgeGraph.from_layers([form])
    assert edges_of(graph) == [(0, 3, 1.0), (2, 3, 2.0), (1, 4, -1.0)]
    assert (graph.inputs.tolist(), graph.outputs.tolist()) == ([0, 1, 2], [3, 4])


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_torch_csr_and_the_transposed_layout() -> None:
    given = EdgeGraph.from_layers([torch.tensor(W).to_sparse_csr()])
    turned = EdgeGraph.from_layers([W.T], layout="in_out")
    assert edges_of(given) == edges_of(turned) == edges_of(EdgeGraph.from_layers([W]))


def test_zeros_are_kept_on_request() -> None:
    assert EdgeGraph.from_layers([W], keep_zeros=True).edges == 6
    stored = sparse.coo_array(([0.0, 1.0], ([0, 1], [0, 1])), shape=(2, 3))
    assert EdgeGraph.from_layers([stored]).edges == 1
    assert EdgeGraph.from_layers([stored], keep_zeros=True).edges == 2


def test_a_convolution_becomes_one_edge_a_product() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(32, 3),
    ).double()  # fmt: skip
    graph = EdgeGraph.from_chain(as_chain(model, (1, 4, 4)))
    taps = (3 * 4 - 2) ** 2  # places where a 3x3 kernel meets a 4x4 image
    assert graph.edges == 2 * taps + 32 * 3
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = model(x).numpy()
    np.testing.assert_allclose(slow(graph, x.flatten(1).numpy()), expected, rtol=1e-12)


def test_levels_are_longest_paths() -> None:
    graph = graph_of([(0, 1), (1, 2), (0, 2), (2, 3), (0, 3)], [0], [3])
    assert graph.level.tolist() == [0, 1, 2, 3]
    assert edges_of(graph) == [(0, 1, 1), (0, 2, 1), (1, 2, 1), (0, 3, 1), (2, 3, 1)]
    assert (graph.in_degree.tolist(), graph.out_degree.tolist()) == ([0, 1, 2, 2], [3, 1, 1, 0])


def matrices(graph: EdgeGraph, n: int) -> list[np.ndarray]:
    """Give the 0/1 matrices of a stack of square layers, rows for sources."""
    result = []
    for k in range(graph.levels):
        mine = graph.level[graph.targets] == k + 1
        result.append(np.zeros((n, n)))
        result[-1][graph.sources[mine] - k * n, graph.targets[mine] - (k + 1) * n] = 1
    return result


def test_the_challenge_construction() -> None:
    graph = radix_net(1024, 12)
    assert graph.edges == 12 * 1024 * 32
    assert (graph.in_degree[1024:] == 32).all()
    assert (graph.out_degree[:-1024] == 32).all()
    assert set(graph.weights.tolist()) == {1 / 16}
    paths = np.eye(1024)
    for k, found in enumerate(matrices(graph, 1024)):
        base = np.eye(64) + np.roll(np.eye(64), -(1 << k % 6), axis=1)
        plain = np.kron(np.ones((16, 16)), base)
        if k < 6:
            assert (found == plain).all()
            paths = paths @ found
        elif k == 6:  # the second group: rows permuted, the same way in all its layers
            permuted = [int(np.flatnonzero((plain == row).all(axis=1))[0]) for row in found]
            assert np.bincount(permuted).tolist() == [16] * 64
        if k >= 6:
            assert (found == plain[permuted]).all()
    assert (paths == 16**5).all()  # 64 * 16^6 paths from each input, to 1024 neurons
    assert set(graph.bias[1024:].tolist()) == {-0.3}
    assert graph.activations[graph.activation[-1]] == clamp(0.0, 32.0)


# Sources of the first neuron in layers 2 and 7 of the challenge's n1024 files, from 1 on; read from
# the copies in GraphBLAS/LAGraph, data/dnn_data/n1024-l2.mtx and n1024-l7.mtx.
OFFICIAL_2 = [k + 64 * copy for copy in range(16) for k in (1, 3)]
OFFICIAL_7 = [
    91, 141, 146, 148, 156, 178, 187, 191, 237, 246, 287, 347, 366, 452, 487, 538,
    574, 603, 609, 647, 649, 663, 706, 755, 791, 812, 833, 842, 862, 910, 930, 1017,
]  # fmt: skip


def test_neurons_are_permuted_one_by_one_as_in_the_official_files() -> None:
    layers = matrices(radix_net(1024, 7), 1024)
    assert (np.flatnonzero(layers[1][:, 0]) + 1).tolist() == OFFICIAL_2
    official = {(k - 1) % 64 for k in OFFICIAL_7}
    drawn = set((np.flatnonzero(layers[6][:, 0]) % 64).tolist())
    assert min(len(official), len(drawn)) > 16  # two, if whole classes changed places
    assert (layers[6][:, 0] == layers[6][:, 64]).all()


# As entrants of the challenge number the neurons of its files, v // base + 16 * (v % base), the
# first layers read two blocks of 16 neurons, 16 * 2^k numbers apart, for a block of 16 targets
# (CGCL-codes/Graphchallenge21, multi_gpu.cpp and multi_gpu_big.cu).
@pytest.mark.parametrize(
    ("neurons", "base", "group", "bias", "layers"),
    [
        (1024, 64, 6, -0.3, 7),
        (4096, 256, 8, -0.35, 9),
        (16384, 1024, 10, -0.4, 2),
        (65536, 4096, 12, -0.45, 1),
    ],
)
def test_the_larger_networks_have_the_blocks_that_entrants_found(
    neurons: int, base: int, group: int, bias: float, layers: int
) -> None:
    graph = radix_net(neurons, layers)
    assert set(graph.bias[neurons:].tolist()) == {bias}
    for k in range(layers):
        mine = graph.level[graph.targets] == k + 1
        from_, to = (x[mine] % neurons for x in (graph.sources, graph.targets))
        numbered = [(v // base + 16 * (v % base)) // 16 for v in (from_, to)]
        apart = np.bincount((numbered[0] - numbered[1]) % base, minlength=base)
        if k < group:
            assert np.flatnonzero(apart).tolist() == [0, 1 << k]
            assert apart[0] == apart[1 << k] == 16 * neurons
        else:
            assert (apart > 0).sum() > base // 2


def test_generators_are_seeded() -> None:
    for make in (
        lambda seed: radix_net(64, 8, base=16, rng=seed),
        lambda seed: random_sparse([20, 20], 0.3, rng=seed),
        lambda seed: compact_growth(6, 30, 2, rng=seed),
    ):
        assert edges_of(make(1)) == edges_of(make(1)) != edges_of(make(2))


def write_layers(folder: Path, graph: EdgeGraph, ending: str) -> None:
    for k in (1, 2):
        mine = graph.level[graph.targets] == k
        rows = zip(
            graph.sources[mine] - 64 * (k - 1) + 1, graph.targets[mine] - 64 * k + 1,
            graph.weights[mine], strict=True,
        )  # fmt: skip
        text = "".join(f"{i}\t{j}\t{w}\n" for i, j, w in rows)
        if ending == "mtx":
            text = f"%%MatrixMarket matrix coordinate real general\n64 64 {mine.sum()}\n" + text
        path = folder / f"n64-l{k}.{ending}"
        if ending.endswith("gz"):
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text)


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz", "mtx"])
def test_challenge_files_give_the_network_back(tmp_path: Path, ending: str) -> None:
    graph = radix_net(64, 2, base=16)
    write_layers(tmp_path, graph, ending)
    assert edges_of(read_graph_challenge(tmp_path)) == edges_of(graph)
    assert read_graph_challenge(tmp_path, layers=1).edges == graph.edges // 2


def test_challenge_files_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="holds no layer of the Graph Challenge"):
        read_graph_challenge(tmp_path)
    write_layers(tmp_path, radix_net(64, 2, base=16), "tsv")
    with pytest.raises(ConversionError, match="lacks layer 3 of the 3 asked for"):
        read_graph_challenge(tmp_path, layers=3)
    (tmp_path / "n64-l2.tsv").write_text("1\t2\t0.5\n1\t65\t0.5\n")
    with pytest.raises(ConversionError, match=r"line 2: '1.*0.5'; rows and columns count"):
        read_graph_challenge(tmp_path)
    (tmp_path / "n64-l2.tsv").write_text("1\ttwo\t0.5\n")
    with pytest.raises(ConversionError, match=r"line 1: .* is not a row, a column and a value"):
        read_graph_challenge(tmp_path)


@pytest.mark.parametrize("line", ["inf\t1\t1", "nan\t1\t1", "1.5\t1\t1", "1\t1\tinf"])
def test_challenge_files_with_numbers_that_are_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "n64-l1.tsv").write_text(f"{line}\n")
    with pytest.raises(ConversionError, match=r"line 1: .*; rows and columns count from 1 to 64"):
        read_graph_challenge(tmp_path)


def test_challenge_files_that_are_compressed_wrong(tmp_path: Path) -> None:
    whole = gzip.compress(b"1\t2\t0.5\n" * 1000)
    for content in (b"1\t2\t0.5\n", whole[:-20], whole[:15] + b"xx" * 20):
        (tmp_path / "n64-l1.tsv.gz").write_bytes(content)
        with pytest.raises(ConversionError, match=r"n64-l1.tsv.gz' cannot be decompressed"):
            read_graph_challenge(tmp_path)


def test_challenge_networks_are_not_mixed(tmp_path: Path) -> None:
    for neurons in (64, 128):
        (tmp_path / f"n{neurons}-l1.tsv").write_text("1\t2\t0.5\n")
    with pytest.raises(ConversionError, match=r"several networks, of 64 and 128 neurons"):
        read_graph_challenge(tmp_path)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: graph_of([(0, 1), (1, 2), (2, 1)], [0], [2]), ValueError, "cycle: 1 -> 2 -> 1"),
        (lambda: graph_of([(0, 1), (0, 1)], [0], [1]), ValueError, "0 -> 1 is given twice"),
        (lambda: graph_of([(0, 1), (1, 2)], [0, 1], [2]), ValueError, "edge 0 leads into vertex 1"),
        (lambda: graph_of([(0, 1)], [0, 0], [1]), ValueError, '"inputs" lists vertex 0 more than'),
        (lambda: graph_of([(0, 1)], [0], [5]), ValueError, '"outputs" is 5 at index 0'),
        (lambda: EdgeGraph.from_layers([]), ValueError, '"weights" is empty'),
        (lambda: EdgeGraph.from_layers([W, W]), ShapeError, "layer 1 takes 3 inputs, but 2 values"),
        (
            lambda: EdgeGraph.from_layers([W], [[1.0]]),
            ShapeError,
            '"biases[0]" has 1 numbers for 2',
        ),
        (lambda: EdgeGraph.from_layers([W], []), ShapeError, '"biases" has 0 entries for 1 layers'),
        (lambda: EdgeGraph.from_layers([W], None, [relu, relu]), ShapeError, '"activations" has 2'),
        (lambda: EdgeGraph.from_layers([W], layout="ab"), ValueError, "\"layout\" was 'ab'"),
        (lambda: EdgeGraph.from_layers([W * np.nan]), DomainError, '"weights[0]" has 6 values'),
        (lambda: EdgeGraph.from_layers([W], None, "gelu"), ValueError, "'gelu' is neither"),
        (lambda: EdgeGraph.from_layers([W + 1j]), TypeError, "complex128; real numbers are needed"),
        (lambda: random_sparse([4], 0.5), ValueError, '"widths" was [4]'),
        (lambda: random_sparse([4, 4], 0.0), ValueError, '"density" 0.0'),
        (lambda: radix_net(100, 2), ValueError, '"neurons" was 100'),
        (lambda: compact_growth(3, 5, 4), ValueError, '"degree" 4'),
    ],
)
def test_misuse(make: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make()  # type: ignore[operator]


def test_identity_is_the_default() -> None:
    graph = EdgeGraph.from_layers([W])
    assert graph.activations == (identity,)
    assert graph.density == 0.5
