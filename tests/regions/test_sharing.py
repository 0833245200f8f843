"""Tasks that split themselves: the same regions, in parts of about one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.networks import arrangement, as_chain, random_network, tent_chain
from byways.regions import WholeSpace, _work, count_regions, enumerate_regions
from byways.regions._engine import Divisible
from byways.regions._question import Question
from byways.runs import Result, Task
from tests.oracles.counts import generic_regions
from tests.regions.nets import ACTIVATIONS, whole_numbered
from tests.runs.adversary import AdversarialExecutor


def shares(
    chain: LayerChain, domain: object, method: str = "auto", workers: int = 1
) -> Iterator[Result]:
    """Work off all tasks of a count, the newest first."""
    options: dict[str, Any] = {"solver": "auto", "exact": "float", "tolerance": 1e-9}
    question = Question.ask(chain, domain, method=method, keep=None, **options)
    waiting = [_work.whole(None, None, workers)]
    while waiting:
        result = _work.work(question, waiting.pop())
        yield result
        waiting += reversed([Task.from_json(task.to_json()) for task in result.rest])


def set_share(monkeypatch: pytest.MonkeyPatch, work: int) -> None:
    """Let a task do about so much work."""
    monkeypatch.setattr(_work, "_SMALL_WORK", dict.fromkeys(_work._SMALL_WORK, work))
    monkeypatch.setattr(_work, "_SMALL_LEAVES", 1)
    monkeypatch.setattr(_work, "_SHARES", dict.fromkeys(_work._SHARES, 1))


@pytest.mark.parametrize("work", [1, 30, 300])
@pytest.mark.parametrize("seed", range(15))
def test_the_same_regions_whatever_a_share_is(
    seed: int, work: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dim, method = 1 + seed % 4, "vertices" if seed % 2 else "simplex"
    make = whole_numbered if seed % 3 == 0 else random_network_of
    chain = make((dim, 5, 4, 3, 2), seed, ACTIVATIONS[seed % len(ACTIVATIONS)])
    whole = enumerate_regions(chain, (-1, 1), method=method)
    set_share(monkeypatch, work)
    parts = enumerate_regions(chain, (-1, 1), method=method)
    assert np.array_equal(parts.words, whole.words)
    assert parts.layer_counts == whole.layer_counts
    assert parts.outcome.complete
    assert (parts.locate(parts.witnesses) == np.arange(len(parts))).mean() > 0.99  # rounding
    count = count_regions(chain, (-1, 1), method=method)
    assert count.layer_counts == whole.layer_counts


def random_network_of(widths: tuple[int, ...], seed: int, activation: Any) -> LayerChain:
    return random_network(widths, rng=seed, activation=activation)


@pytest.mark.parametrize("widths", [(30, 5, 5, 1), (20, 4, 4, 4, 1)])
def test_wide_inputs_are_shared_out_too(
    widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = random_network(widths, rng=0)
    whole = enumerate_regions(chain, (0, 1), method="wide")
    for work in (10, 50):
        set_share(monkeypatch, work)
        parts = enumerate_regions(chain, (0, 1), method="wide")
        assert np.array_equal(parts.words, whole.words)
        assert parts.layer_counts == whole.layer_counts
        assert parts.explored == pytest.approx(1.0)
        assert len(list(shares(chain, (0, 1), "wide"))) > 3


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_shared_out_in_doubt_is_counted_once_it_is_certain(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = whole_numbered((12, 5, 4, 3, 2), seed, ACTIVATIONS[seed])
    known = count_regions(chain, (-1, 1), method="simplex").layer_counts
    set_share(monkeypatch, 2)
    results = list(shares(chain, (-1, 1), "wide"))
    found = [sum(r.counts[f"layer_{i}"] for r in results) for i in range(3)]
    assert tuple(found) == known
    assert sum(r.counts["regions"] for r in results) == known[-1]


def test_shares_add_up_to_closed_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    set_share(monkeypatch, 200)
    found = sum(r.counts["regions"] for r in shares(tent_chain(10), (0, 1)))
    assert found == 1024
    braid = list(shares(arrangement("braid", 5), WholeSpace(5)))
    assert sum(r.counts["regions"] for r in braid) == 120
    planes = random_network((4, 12, 1), rng=0)
    generic = list(shares(planes, WholeSpace(4)))
    assert sum(r.counts["regions"] for r in generic) == generic_regions(12, 4)
    assert len(generic) > 10


def test_no_task_does_more_than_two_shares() -> None:
    chain = random_network((6, 16, 16, 1), rng=0)
    results = list(shares(chain, (-1, 1), "simplex"))
    work = np.array([result.counts["work"] for result in results])
    small = _work._SMALL_WORK["simplex"] * 30 // 26
    assert work.sum() > small  # a question that is handed out
    share = small / _work._SHARES["simplex"]
    assert work.max() <= 2 * share + 1000
    assert len(work) < 2.5 * work.sum() / share  # and they are not crumbs
    assert work.max() <= work.sum() / 40


@pytest.mark.parametrize("workers", [1, 4, 16, 64])
def test_the_largest_task_is_small_beside_what_a_worker_has_to_do(workers: int) -> None:
    chain = random_network((784, 10, 10, 1), rng=0)  # a fifth of the work of 784-11-11
    work = np.array([r.counts["work"] for r in shares(chain, (0, 1), "wide", workers)])
    small = _work._SMALL_WORK["wide"] * 30 // 30
    assert work.sum() > small
    assert work.max() <= 5 * work.sum() / (20 * workers)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 4, 7])
@pytest.mark.parametrize("workers", [2, 16, 64, 250, 1000])
def test_the_largest_task_of_a_second_of_work(seed: int, workers: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(*sizes) for sizes in ((784, 11), (11, 11), (11, 1))]
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    chain = as_chain(model.eval())
    results = list(shares(chain, (0, 1), "wide", workers))
    work = np.array([r.counts["work"] for r in results])
    known = count_regions(chain, (0, 1)).total if seed else 418_665  # published
    assert sum(r.counts["regions"] for r in results) == known
    assert work.max() <= work.sum() / (20 * workers)


def test_what_a_walk_keeps_it_finishes() -> None:
    for method, widths in (
        ("simplex", (4, 9, 9, 1)),
        ("vertices", (3, 12, 12, 1)),
        ("wide", (30, 7, 7, 1)),
    ):
        options: dict[str, Any] = {"solver": "auto", "exact": "float", "tolerance": 1e-9}
        question = Question.ask(
            random_network(widths, rng=1), (-1, 1), method=method, keep=None, **options
        )
        problem, none = question.problem(), np.zeros(0, dtype=np.uint8)
        total = question.walk(problem, none).advance(10**9, 10**9).leaves
        walk = question.walk(problem, none)
        assert isinstance(walk, Divisible)
        found, left = walk.advance(10**9, 300).leaves, []
        while not walk.finished:
            before, explored = walk.open, walk.explored
            given = walk.share_out(explored / 2)
            assert len(given) + walk.open == before
            assert walk.explored == pytest.approx(explored)
            left += given
            found += walk.advance(10**9, 50).leaves
        assert walk.explored + sum(tree.mass for tree in left) == pytest.approx(1.0)
        rest = [question.walk(problem, tree.prefix).advance(10**9, 10**9).leaves for tree in left]
        assert found + sum(rest) == total
        assert len(left) > 1


def test_explored_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    set_share(monkeypatch, 100)
    for dim, method in ((3, "simplex"), (2, "vertices")):
        chain = random_network((dim, 8, 8, 1), rng=0)
        results = {r.key: r for r in shares(chain, (-1, 1), method)}
        share = {"whole": 1.0} | {
            task.key: task.payload["share"] for r in results.values() for task in r.rest
        }
        explored = sum(float(str(share[k])) * r.counts["explored"] for k, r in results.items())
        assert explored == pytest.approx(1.0)


def test_keys_are_file_names_however_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    set_share(monkeypatch, 300)
    chain = random_network((2, 300, 300, 1), rng=0)  # prefixes of up to 600 decisions
    keys = [result.key for result in shares(chain, (-0.02, 0.02))]
    assert len(set(keys)) == len(keys) > 10


@pytest.mark.usefixtures("_cut_early")
def test_the_report_is_the_same_bit_for_bit_on_an_adversary() -> None:
    chain = random_network((3, 8, 8, 2), rng=3)
    alone = enumerate_regions(chain, (-1, 1))
    for seed in range(3):
        adversary = AdversarialExecutor(seed=seed)
        try:
            other = enumerate_regions(chain, (-1, 1), executor=adversary)
        finally:
            adversary.end()
        assert other.digest() == alone.digest()


class Crowd(Executor):
    """Does everything at once, and claims to have so many workers."""

    def __init__(self, workers: int) -> None:
        self._max_workers = workers  # as the standard library's executors say it
        self.tasks = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        self.tasks += sum(len(part) for part in args if isinstance(part, list))
        return future


CROWDS = (1, 2, 5, 16, 64)
RANDOM, DEGENERATE = (
    random_network((3, 8, 8, 2), rng=0),
    whole_numbered((3, 5, 4, 3, 2), 1, ACTIVATIONS[1]),
)
WIDE = random_network((30, 5, 5, 1), rng=0), whole_numbered((12, 5, 4, 3, 2), 5, ACTIVATIONS[0])


@pytest.mark.usefixtures("_cut_early")
@pytest.mark.parametrize("keep", [("signs",), ("signs", "witness")])
@pytest.mark.parametrize(
    ("chain", "method"),
    [
        (RANDOM, "simplex"),
        (DEGENERATE, "simplex"),
        (RANDOM, "vertices"),
        (DEGENERATE, "vertices"),  # which hands cells over to dictionaries
        (WIDE[0], "wide"),
        (WIDE[1], "wide"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.widths)),
)
def test_the_same_report_for_any_number_of_workers(
    chain: LayerChain, method: str, keep: tuple[str, ...]
) -> None:
    crowds = [Crowd(workers) for workers in CROWDS]
    reports = [
        enumerate_regions(chain, (-1, 1), method=method, keep=keep, executor=crowd)
        for crowd in crowds
    ]
    assert len({report.digest() for report in reports}) == 1
    tasks = [crowd.tasks for crowd in crowds]
    assert min(tasks) > 3
    # Small shares are kept where they cannot be seen.
    assert (tasks[-1] > tasks[0]) == (method == "wide" and "witness" not in keep)


@pytest.mark.usefixtures("_cut_early")
@pytest.mark.parametrize("method", ["simplex", "vertices", "wide"])
def test_the_same_count_and_doubts_for_any_number_of_workers(method: str) -> None:
    chain = WIDE[1] if method == "wide" else DEGENERATE
    counts = [
        count_regions(chain, (-1, 1), method=method, executor=Crowd(workers)) for workers in CROWDS
    ]
    assert len({(count.layer_counts, count.ambiguous) for count in counts}) == 1


def test_an_engine_on_its_way_to_the_root_has_nothing_to_share_out() -> None:
    options: dict[str, Any] = {"solver": "auto", "exact": "float", "tolerance": 1e-9}
    chain = random_network((2, 6, 6, 1), rng=0)
    for method in ("simplex", "vertices"):
        question = Question.ask(chain, (-1, 1), method=method, keep=None, **options)
        problem = question.problem()
        deep = enumerate_regions(chain, (-1, 1), method=method).bits_of(0)[:7]
        walk = question.walk(problem, deep)
        assert isinstance(walk, Divisible)
        assert walk.open == 0
        walk.advance(1, 10**6)
        if not walk.finished:
            open_before = walk.open
            rest = walk.share_out()
            assert len(rest) == open_before
            assert all(len(subtree.prefix) > 7 for subtree in rest)
            assert all((subtree.prefix[:7] == deep).all() for subtree in rest)
            assert walk.finished
