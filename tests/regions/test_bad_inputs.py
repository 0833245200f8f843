"""What is refused, and that the message says what was given, what is allowed and what to do."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.core.domains import Box, Polytope
from byways.core.errors import ConversionError, DomainError, ShapeError
from byways.networks import example, random_network
from byways.regions import (
    Outcome,
    Slice,
    WholeSpace,
    count_regions,
    enumerate_regions,
    iter_regions,
    region_at,
)

CHAIN = random_network([2, 4, 3, 1], rng=0)
GOOD = ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
LAST = ([[1.0, 1.0]], [0.0])
WIDE = random_network([50, 60, 60, 10], rng=0)

DOORS: list[Callable[..., Any]] = [enumerate_regions, count_regions, iter_regions]


def takes(door: Callable[..., Any], options: dict[str, Any]) -> bool:
    return set(options) <= set(inspect.signature(door).parameters)


NETWORKS = [
    (
        [GOOD, ([[1.0, np.nan]], [0.0])],
        DomainError,
        r"layer 1 .*1 value.*NaN or infinite.*\(0, 1\).*finite numbers are needed",
    ),
    ([([[np.inf, 0.0]], [0.0])], DomainError, r"layer 0 .*NaN or infinite.*\(0, 0\): inf"),
    ([GOOD, ([[1.0, 1.0]], [np.nan])], DomainError, r"layer 1 .*\"bias\".*\(0,\): nan"),
    ([([[1.0 + 2.0j, 0.0]], [0.0])], TypeError, "layer 0 .*complex.*real numbers are needed"),
    ([GOOD, ([[1.0, 1.0, 1.0]], [0.0])], ShapeError, "layer 1 takes 3 inputs but layer 0 has 2"),
    ([([[1.0, 1.0]], [0.0, 1.0])], ShapeError, 'layer 0 .*"bias" has 2 .* 1 outputs'),
    ([], ValueError, "empty.*at least one layer"),
    ([(np.zeros((0, 2)), np.zeros(0)), (np.zeros((1, 0)), [0.0])], ValueError, "at least one unit"),
    (3.5, TypeError, r'"network" is 3.5 of type builtins.float; give a LayerChain'),
    ("weights.pth", TypeError, "weights.pth.*without the network.*load it with the library"),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("network", "error", "words"), NETWORKS)
def test_networks(door: Callable[..., Any], network: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        door(network, (-1, 1))


SQUARE = Box([-1.0, -1.0], [1.0, 1.0])
DOMAINS = [
    ((1, 0), DomainError, r"empty in coordinate 0: lower 1.0 is above upper 0.0; swap them"),
    (([0.0, 3.0], [1.0, 2.0]), DomainError, "empty in coordinate 1: lower 3.0 is above upper 2.0"),
    ((0, np.inf), DomainError, r'"upper" has 2 values.* infinite.*\(0,\): inf'),
    ((np.nan, 1), DomainError, r'"lower" has 2 values that are NaN.*\(0,\): nan'),
    ((1, 1), DomainError, r"every side .* is flat \(coordinate 0 is 1.0\).*give .* some width"),
    (
        Box([0.0] * 3, [1.0] * 3),
        DomainError,
        '"domain" has 3 coordinates but the network has 2 inputs',
    ),
    (WholeSpace(5), DomainError, '"domain" has 5 coordinates but the network has 2 inputs'),
    (
        Slice([0.0] * 3, [[1.0, 0.0, 0.0]], 1.0),
        DomainError,
        '"domain" has 3 coordinates but the network has 2 inputs',
    ),
    (([0.0, 0.0, 0.0], [1.0, 1.0]), ShapeError, "same length"),
    (
        Polytope([[1.0, 0.0], [-1.0, 0.0]], [-0.5, -0.5], SQUARE),
        DomainError,
        "no interior inside its box.*margin of.*check A, b and the box",
    ),
    (
        Polytope([[1.0, 0.0], [-1.0, 0.0]], [0.5, -0.5], SQUARE),  # a line
        DomainError,
        "no interior inside its box",
    ),
    ("everywhere", TypeError, r"\"domain\" was 'everywhere'; give a Box, a pair \(lower, upper\)"),
    (None, TypeError, r'"domain" was None; give a Box'),
    ((0, 1, 2), TypeError, r'"domain" was \(0, 1, 2\); give a Box'),
    (("a", "b"), TypeError, "real numbers are needed"),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("domain", "error", "words"), DOMAINS)
def test_domains(door: Callable[..., Any], domain: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        door(CHAIN, domain)


def test_sides_that_are_flat_are_fixed_coordinates() -> None:
    report = enumerate_regions(CHAIN, ([-1.0, 0.5], [1.0, 0.5]))
    assert (report.witnesses[:, 1] == 0.5).all()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: WholeSpace(0), DomainError, '"dim" was 0; give the number of inputs, 1 or more'),
        (lambda: WholeSpace(True), DomainError, '"dim" was True'),
        (lambda: WholeSpace(2.0), DomainError, '"dim" was 2.0'),  # type: ignore[arg-type]
        (lambda: Slice([0, 0], [[1, 2], [2, 4]]), DomainError, "linearly dependent; leave"),
        (lambda: Slice([0, 0], [[0, 0]]), DomainError, "linearly dependent"),
        (lambda: Slice([0, 0], [[1, 2, 3]]), ShapeError, r"\(1, 3\).*2 coordinates; give one row"),
        (lambda: Slice([0, 0], np.zeros((0, 2))), ShapeError, r"\(0, 2\).*one row"),
        (lambda: Slice([0, np.nan], [[1, 0]]), DomainError, r'"origin" has 1 .*\(1,\): nan'),
        (lambda: Slice([0, 0], [[1, 0]], extent=(1, 0)), DomainError, "empty in coordinate 0"),
        (lambda: Slice([0, 0], [[1, 0]], extent=(1, 1)), DomainError, '"extent" is flat in coor'),
        (lambda: Slice([0, 0], [[1, 0]], extent=0.0), DomainError, '"extent" is flat'),
        (
            lambda: Slice([0, 0], [[1, 0]], extent=Box([0.0, 0.0], [1.0, 1.0])),
            ShapeError,
            '"extent" has 2 coordinates for 1 directions',
        ),
        (
            lambda: Slice([0, 0], [[1, 0]], extent=(0, 1, 2)),  # type: ignore[arg-type]
            ShapeError,
            r'"extent" was \(0, 1, 2\); give a number',
        ),
        (lambda: Slice.through([[0, 0], [1, 1], [2, 2]]), DomainError, "on one line; choose three"),
        (lambda: Slice.through([[0, 0], [1, 1]]), ShapeError, r"\(2, 2\); three points are needed"),
    ],
)
def test_making_domains(make: Callable[[], object], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        make()


OPTIONS = [
    (
        {"method": "fast"},
        ValueError,
        r"\"method\" was 'fast'; it is one of auto, lp, simplex, vert",
    ),
    ({"method": None}, ValueError, r'"method" was None; it is one of'),
    ({"method": "lp", "solver": "cplex"}, ValueError, r"\"solver\" was 'cplex'.*highs.*scipy"),
    ({"exact": "interval"}, ValueError, r"\"exact\" was 'interval'; it is \"float\""),
    ({"tolerance": 0.0}, ValueError, r'"tolerance" was 0.0; .*between 1e-13 .*and 1e-3'),
    ({"tolerance": -1e-9}, ValueError, '"tolerance" was -1e-09'),
    ({"tolerance": float("nan")}, ValueError, '"tolerance" was nan'),
    ({"tolerance": 1.0}, ValueError, '"tolerance" was 1.0'),
    ({"tolerance": "1e-9"}, TypeError, r"\"tolerance\" was '1e-9'; it is a number"),
    ({"tolerance": True}, TypeError, r'"tolerance" was True; it is a number'),
    ({"keep": ("signs", "colour")}, ValueError, r"\"keep\" was \('signs', 'colour'\); .*tuple out"),
    ({"keep": "witness"}, ValueError, r"\"keep\" was 'witness'; it is a tuple out of"),
    ({"workers": 0}, ValueError, r'"workers" was 0; .*at least 1, or None for all cores'),
    ({"workers": -1}, ValueError, r'"workers" was -1; .*None for all cores'),
    ({"workers": True}, TypeError, r'"workers" was True; .*None for all cores'),
    ({"workers": "2"}, TypeError, r"\"workers\" was '2'; .*None for all cores"),
    ({"workers": 2.0}, TypeError, r'"workers" was 2.0; .*None for all cores'),
    ({"executor": "threads"}, TypeError, r"\"executor\" was 'threads'; .*concurrent.futures"),
    ({"max_regions": 0}, ValueError, r'"max_regions" was 0; give a positive integer, or None'),
    ({"max_regions": -3}, ValueError, '"max_regions" was -3; give a positive integer'),
    ({"max_regions": True}, TypeError, '"max_regions" was True; give a positive integer'),
    ({"max_regions": 10.0}, TypeError, '"max_regions" was 10.0; give a positive integer'),
    ({"max_regions": "10"}, TypeError, r"\"max_regions\" was '10'"),
    ({"time_limit": 0}, ValueError, r'"time_limit" was 0; give a positive number of seconds'),
    ({"time_limit": -1.5}, ValueError, '"time_limit" was -1.5'),
    ({"time_limit": float("nan")}, ValueError, '"time_limit" was nan'),
    ({"time_limit": "1 h"}, TypeError, r"\"time_limit\" was '1 h'; give seconds, or None"),
    ({"time_limit": True}, TypeError, '"time_limit" was True; give seconds'),
    ({"progress": "yes"}, TypeError, r"\"progress\" was 'yes'"),
    ({"progress": 1}, TypeError, '"progress" was 1'),
]
PAIRS = [
    pytest.param(door, *option, id=f"{door.__name__}-{option[0]}")
    for door in DOORS
    for option in OPTIONS
    if takes(door, option[0])
]


@pytest.mark.parametrize(("door", "options", "error", "words"), PAIRS)
def test_options(
    door: Callable[..., Any], options: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        door(CHAIN, (-1, 1), **options)


def test_workers_and_executor() -> None:
    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(ValueError, match=r'"workers" was 2 and "executor" was given too.*leave'),
    ):
        enumerate_regions(CHAIN, (-1, 1), workers=2, executor=threads)


@pytest.mark.usefixtures("_cut_early")
def test_an_executor_that_is_shut_down() -> None:
    threads = ThreadPoolExecutor(1)
    threads.shutdown()
    chain = random_network([3, 8, 8, 1], rng=0)  # more than is answered without the executor
    with pytest.raises(RuntimeError, match="shutdown"):
        count_regions(chain, (-1, 1), executor=threads)


@pytest.mark.parametrize(
    "domain",
    [WholeSpace(2), (-1, 1)],
    ids=["whole space", "nine sides"],
)
def test_corners_need_few_bounded_coordinates(domain: Any) -> None:
    chain = CHAIN if isinstance(domain, WholeSpace) else random_network([9, 2, 1], rng=0)
    with pytest.raises(ValueError, match=r"'vertices', which needs .* most 8 free.*Use method="):
        enumerate_regions(chain, domain, method="vertices")


class TestTooMany:
    def test_refused_before_it_starts(self) -> None:
        for door in (enumerate_regions, count_regions):
            with pytest.raises(DomainError, match=r"up to \d.*Serra.*Give max_regions or time_li"):
                door(WIDE, (-1, 1))

    def test_the_message_holds_the_bound(self) -> None:
        # One layer of 40 units on 40 inputs: at most 2^40 regions.
        wide = random_network([40, 40, 1], rng=0)
        with pytest.raises(DomainError, match=r"up to 1\.1e\+12 activation regions"):
            count_regions(wide, (-1, 1))

    def test_limits_lift_the_refusal(self) -> None:
        report = enumerate_regions(WIDE, (-1, 1), max_regions=5)
        assert (len(report), report.outcome) == (5, Outcome.MAX_REGIONS)
        assert count_regions(WIDE, (-1, 1), time_limit=0.2).outcome is Outcome.TIME_LIMIT

    def test_iterating_is_never_refused(self) -> None:
        assert next(iter(iter_regions(WIDE, (-1, 1)))).signs.shape == (120,)

    def test_a_slice_is_small(self) -> None:
        chain = example("digits").chain
        plane = Slice.through(np.eye(chain.input_size)[:3])
        assert count_regions(chain, plane).outcome is Outcome.COMPLETE


class TestPoints:
    def test_wrong_length(self) -> None:
        with pytest.raises(ShapeError, match=r'"x" has shape \(3,\); the network takes \(2,\)'):
            region_at(CHAIN, [0.0, 0.0, 0.0])

    def test_more_than_one(self) -> None:
        with pytest.raises(ShapeError, match=r'"x" has shape \(1, 2\); the network takes \(2,\)'):
            region_at(CHAIN, [[0.0, 0.0]])

    def test_not_finite(self) -> None:
        with pytest.raises(DomainError, match=r'"x" has 1 value.*\(1,\): nan'):
            region_at(CHAIN, [0.0, np.nan])

    def test_not_a_number(self) -> None:
        with pytest.raises(TypeError, match=r'"x" has dtype.*real numbers'):
            region_at(CHAIN, ["a", "b"])


class TestModules:
    """What the pass does with modules; more is said where they are converted."""

    def torch(self) -> Any:
        return pytest.importorskip("torch").nn

    def test_smooth_activations(self) -> None:
        nn = self.torch()
        network = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 1))
        with pytest.raises(ConversionError, match=r'module "1" .*GELU.*ReLU'):
            enumerate_regions(network, (-1, 1))

    def test_norms_in_training_mode(self) -> None:
        nn = self.torch()
        network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1))
        with pytest.raises(ConversionError, match=r"BatchNorm1d.*\.eval\(\)"):
            enumerate_regions(network, (-1, 1))
        assert enumerate_regions(network.eval(), (-1, 1)).outcome.complete

    def test_half_precision_is_said(self) -> None:
        nn = self.torch()
        network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).half()
        with pytest.warns(UserWarning, match="float64"):
            report = enumerate_regions(network, (-1, 1))
        assert report.outcome.complete

    def test_a_module_used_twice_is_two_layers(self) -> None:
        nn = self.torch()
        twice = nn.Linear(2, 2)
        report = enumerate_regions(nn.Sequential(twice, nn.ReLU(), twice, nn.ReLU()), (-1, 1))
        assert len(report.layer_counts) == 2

    def test_the_module_stays_as_it_was(self) -> None:
        nn = self.torch()
        network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        enumerate_regions(network, (-1, 1))
        assert all(p.requires_grad and p.dtype.itemsize == 4 for p in network.parameters())


def test_integers_are_cast() -> None:
    network = [(np.array([[1, 0], [0, 1]]), np.array([0, 0])), (np.array([[1, 1]]), [0])]
    assert count_regions(network, (-1, 1)).total == 4


def test_a_pair_of_scalars_serves_every_input() -> None:
    by_hand = Box([-1.0, -1.0], [2.0, 2.0])
    assert np.array_equal(
        enumerate_regions(CHAIN, (-1, 2)).signs, enumerate_regions(CHAIN, by_hand).signs
    )
    mixed = enumerate_regions(CHAIN, (-1, [2.0, 2.0]))
    assert np.array_equal(mixed.signs, enumerate_regions(CHAIN, by_hand).signs)


def test_a_saved_chain_is_a_network(tmp_path: Path) -> None:
    CHAIN.save(tmp_path / "chain.npz")
    report = enumerate_regions(tmp_path / "chain.npz", (-1, 1))
    assert report.network.digest() == CHAIN.digest()
    with pytest.raises(FileNotFoundError):
        enumerate_regions(tmp_path / "none.npz", (-1, 1))
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(ConversionError, match=r"bad\.npz"):
        enumerate_regions(tmp_path / "bad.npz", (-1, 1))


def test_a_run_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "file" / "run")


def test_thin_regions_are_counted_as_ambiguous() -> None:
    thin = LayerChain.from_arrays([([[1.0, 0.0], [1.0, 0.0]], [0.0, -1e-12]), LAST])
    for method in ("simplex", "vertices", "lp"):
        report = enumerate_regions(thin, (-1, 1), method=method)
        assert report.ambiguous >= 1
        assert report.signs.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("side", [1e101, 1e300, np.finfo(float).max])
def test_sides_that_stand_for_no_bounds(side: float) -> None:
    inside = Polytope([[1.0, 1.0]], [1.0], Box([-side, -1.0], [side, 1.0]))
    along = Slice([0.0, 0.0], [[1.0, 0.0]], extent=side)
    for domain in ((-side, side), inside, along):
        with pytest.raises(DomainError, match=r"long in coordinate 0.*use WholeSpace\(d\)"):
            count_regions(CHAIN, domain)
    assert count_regions([GOOD, LAST], (-1e99, 1e99)).total == 4


def test_limits_may_be_numbers_of_numpy(tmp_path: Path) -> None:
    report = enumerate_regions(CHAIN, (-1, 1), max_regions=np.int64(2), run_dir=tmp_path / "run")  # type: ignore[arg-type]
    assert len(report) >= 2
    assert not report.outcome.complete


def test_outputs_that_are_not_there() -> None:
    report = enumerate_regions(CHAIN, (-1, 1))
    with pytest.raises(IndexError, match=r'"i" was 5; outputs are numbered 0 to 0'):
        report.minimize(5)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
@pytest.mark.parametrize("method", ["lp", "simplex", "vertices"])
def test_weights_whose_squares_leave_float64(scale: float, method: str) -> None:
    first = np.array([[1.0, 0.3], [0.2, 1.0], [-1.0, 0.5]]), np.array([0.1, 0.2, 0.1])
    last = np.ones((1, 3)), np.zeros(1)
    words = "no weight above 1e-150" if scale < 1 else "whose squares overflow"
    with pytest.raises(DomainError, match=f"layer 0.*{words}"):
        count_regions([(scale * first[0], scale * first[1]), last], (-1, 1), method=method)
    known = count_regions([first, last], (-1, 1), method=method).total
    near = 1e-100 if scale < 1 else 1e100
    chain = [(near * first[0], near * first[1]), last]
    assert count_regions(chain, (-1, 1), method=method).total == known
