"""Tasks that split themselves: the same regions, in parts of about one size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from byways.core.chain import LayerChain
from byways.networks import arrangement, random_network, tent_chain
from byways.regions import WholeSpace, _work, count_regions, enumerate_regions
from byways.regions._engine import Divisible
from byways.regions._question import Question
from byways.runs import Result, Task
from tests.oracles.counts import generic_regions
from tests.regions.nets import ACTIVATIONS, whole_numbered
from tests.runs.adversary import AdversarialExecutor


def shares(chain: LayerChain, domain: object, method: str = "auto") -> Iterator[Result]:
    """Work off all tasks of a count, the newest first."""
    options: dict[str, Any] = {"solver": "auto", "exact": "float", "tolerance": 1e-9}
    question = Question.ask(chain, domain, method=method, keep=None, **options)
    waiting = [_work.whole(None, None)]
    while waiting:
        result = _work.work(question, waiting.pop())
        yield result
        waiting += reversed([Task.from_json(task.to_json()) for task in result.rest])


def set_share(monkeypatch: pytest.MonkeyPatch, work: int) -> None:
    """Let a task do about so much work."""
    monkeypatch.setattr(_work, "_SMALL_WORK", dict.fromkeys(_work._SMALL_WORK, work))
    monkeypatch.setattr(_work, "_SMALL_LEAVES", 1)
    monkeypatch.setattr(_work, "_SHARES", 1)


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
    for work in (20, 400):
        set_share(monkeypatch, work)
        parts = enumerate_regions(chain, (0, 1), method="wide")
        assert np.array_equal(parts.words, whole.words)
        assert parts.layer_counts == whole.layer_counts
        assert parts.explored == pytest.approx(1.0)
        assert len(list(shares(chain, (0, 1), "wide"))) > 3


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


def test_no_share_is_much_larger_than_it_may_be() -> None:
    chain = random_network((6, 16, 16, 1), rng=0)
    work = np.array([result.counts["work"] for result in shares(chain, (-1, 1), "simplex")])
    small = _work._SMALL_WORK["simplex"] * 30 // 26
    assert work.sum() > small  # a question that is handed out
    assert work.max() <= (2 + 2 / _work._STEPS) * small / _work._SHARES + 1000
    assert len(work) < 4 * work.sum() / (small / _work._SHARES)  # and they are not crumbs


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
