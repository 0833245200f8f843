"""Regions of maxima as tasks: counted, cut, shared out, kept in files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from byways.regions import RegionReport, count_regions, enumerate_regions, estimate_regions

pools = pytest.importorskip("tests.regions.pools")


def test_tasks_and_files(tmp_path: Path) -> None:
    """A list cut into tasks, counted, kept in a directory, saved and read."""
    chain, _ = pools.random_maxout(np.random.default_rng(6), 4, [[4, 4, 4, 4], [3, 3, 3]])
    report = enumerate_regions(chain, (-2, 2))
    assert count_regions(chain, (-2, 2)).layer_counts == report.layer_counts
    kept = enumerate_regions(chain, (-2, 2), run_dir=tmp_path / "run")
    assert kept.digest() == report.digest()
    report.save(tmp_path / "report.npz")
    again = RegionReport.load(tmp_path / "report.npz")
    assert again.digest() == report.digest()
    np.testing.assert_array_equal(again.signs, report.signs)
    few = enumerate_regions(chain, (-2, 2), max_regions=10)
    assert len(few) == 10
    assert set(few.words[:, 0].tolist()) <= set(report.words[:, 0].tolist())
    assert estimate_regions(chain, (-2, 2), samples=2_000, budget=20).exact.total == len(report)


@pytest.mark.parametrize("method", ["simplex", "lp"])
def test_subtrees_that_are_left_to_others(method: str) -> None:
    """Walks that begin with what another one has decided find the rest, and nothing twice."""
    from byways.regions._signs import lexicographic_order, unpack

    chain, _ = pools.random_maxout(np.random.default_rng(7), 3, [[4, 4, 4], [3, 3]])
    report = enumerate_regions(chain, (-2, 2))
    problem, question = report.problem, report.question
    for stop in np.unique(problem.windows[:, 1]).tolist()[:-1]:
        asked = replace(question, method=method)
        walk = asked.walk(problem, np.zeros(0, dtype=np.uint8), stop)
        words = []
        while not walk.finished:
            words.append(walk.advance(100, 10**6).words)
        prefixes = unpack(np.concatenate(words), stop)
        assert len(np.unique(prefixes, axis=0)) == len(prefixes)
        found = []
        for prefix in prefixes:
            inner = asked.walk(problem, prefix)
            while not inner.finished:
                found.append(inner.advance(100, 10**6).words)
        listed = np.concatenate(found)
        np.testing.assert_array_equal(listed[lexicographic_order(listed)], report.words)


def test_work_that_is_shared_out() -> None:
    """A walk that gives away what it has not visited, step by step."""
    chain, _ = pools.random_maxout(np.random.default_rng(8), 3, [[4, 4, 4], [3, 3]])
    report = enumerate_regions(chain, (-2, 2), method="simplex")
    problem, question = report.problem, report.question
    waiting, found = [np.zeros(0, dtype=np.uint8)], []
    layers = np.zeros(len(problem.stages), dtype=np.int64)
    while waiting:
        walk = question.walk(problem, waiting.pop())
        while not walk.finished:
            found.append(walk.advance(5, 40).words)
            if walk.open:
                waiting += [subtree.prefix for subtree in walk.share_out(0.1)]
        layers += walk.layer_counts
    listed = np.concatenate(found)
    assert len(listed) == len(report)
    assert {row.tobytes() for row in listed} == {row.tobytes() for row in report.words}
    assert tuple(layers.tolist()) == report.layer_counts


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_tasks_that_split_themselves_give_the_same_list(tmp_path: Path, workers: int) -> None:
    from byways.regions import _work

    chain, _ = pools.random_maxout(np.random.default_rng(10), 4, [[4] * 5, [3] * 4])
    report = enumerate_regions(chain, (-2, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_work, "_SMALL_LEAVES", 50)
        patch.setitem(_work._SMALL_WORK, "simplex", 3_000)
        split = enumerate_regions(chain, (-2, 2), run_dir=tmp_path / "run", workers=workers)
    np.testing.assert_array_equal(split.words, report.words)
    assert split.layer_counts == report.layer_counts
    assert len(list((tmp_path / "run").rglob("*.npz"))) > 1  # several tasks
