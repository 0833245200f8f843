"""Long enumerations: stopped, killed, limited and resumed, the answer stays the same."""

from __future__ import annotations

import dataclasses
import itertools
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byways.core.domains import Box
from byways.core.errors import RunMismatchError
from byways.core.progress import ProgressEvent
from byways.networks import arrangement, example, random_network
from byways.regions import (
    Outcome,
    RegionReport,
    WholeSpace,
    _gather,
    _work,
    count_regions,
    enumerate_regions,
    iter_regions,
)
from byways.regions._question import Question
from byways.runs import RunDirectory
from tests.regions.master import BOX
from tests.regions.nets import saved
from tests.runs.adversary import AdversarialExecutor

CHAIN = random_network([3, 8, 8, 2], rng=0)


cut = pytest.mark.usefixtures("_cut_early")


def ask(**options: Any) -> RegionReport:
    return enumerate_regions(CHAIN, BOX, **options)


def stop_after(results: int) -> Callable[[ProgressEvent], None]:
    """Press Ctrl-C when so many results have come (the plan is announced first)."""
    seen = itertools.count(-1)

    def listen(_: ProgressEvent) -> None:
        if next(seen) == results:
            raise KeyboardInterrupt

    return listen


def test_threads_get_what_is_too_small_for_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"solver": "auto", "exact": "float", "tolerance": 1e-9, "keep": ()}
    question = Question.ask(CHAIN, BOX, method="simplex", **options)
    walk = question.walk(question.problem(), np.zeros(0, dtype=np.uint8))
    walk.advance(10**6, 10**9)
    assert walk.finished
    monkeypatch.setitem(_work._SMALL_WORK, "simplex", 2 * walk.work)
    told: list[int] = []

    class Threads(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            told.append(1)
            return super().submit(fn, *args, **kwargs)

    monkeypatch.setattr("byways.runs._executors.OwnPool.__init__", no_pool)
    alone = ask(method="simplex", workers=2)
    with Threads(2) as threads:
        assert ask(method="simplex", executor=threads).digest() == alone.digest()
    assert told


def no_pool(*_: object) -> None:
    raise AssertionError("processes were started")


@cut
class TestInterruptions:
    @pytest.mark.parametrize("results", [0, 1, 7])
    def test_ctrl_c_keeps_what_was_found(self, results: int, tmp_path: Path) -> None:
        whole = ask()
        part = ask(run_dir=tmp_path / "run", progress=stop_after(results))
        assert part.outcome is Outcome.INTERRUPTED
        assert len(part) < len(whole)
        assert 0 <= part.explored < 1
        place = whole.locate(part.witnesses)
        assert np.array_equal(whole.signs[place], part.signs)
        with RunDirectory.open(tmp_path / "run") as run:
            assert len(run.done_keys()) >= results
        resumed = ask(run_dir=tmp_path / "run")
        assert resumed.digest() == whole.digest()
        assert saved(resumed, tmp_path / "a.npz") == saved(whole, tmp_path / "b.npz")

    def test_ctrl_c_without_a_directory(self) -> None:
        part = ask(progress=stop_after(5))
        assert part.outcome is Outcome.INTERRUPTED
        assert 0 < len(part) < len(ask())
        count = count_regions(CHAIN, BOX, progress=stop_after(5))
        assert (count.outcome, count.total) == (Outcome.INTERRUPTED, len(part))

    def test_many_short_sessions(self, tmp_path: Path) -> None:
        sessions = 0
        while True:
            listener = stop_after(30 + 30 * sessions)  # what is known comes first
            report = ask(run_dir=tmp_path / "run", progress=listener)
            sessions += 1
            if report.outcome.complete:
                break
        assert sessions > 2
        assert report.digest() == ask().digest()

    def test_an_error_of_the_listener_is_the_callers(self, tmp_path: Path) -> None:
        def listen(_: ProgressEvent) -> None:
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            ask(progress=listen, run_dir=tmp_path / "run")
        assert ask(run_dir=tmp_path / "run").outcome.complete

    def test_a_finished_directory_answers_without_work(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = ask(run_dir=tmp_path / "run")

        def work(*_: object) -> None:
            raise AssertionError("computed again")

        monkeypatch.setattr(_gather, "work", work)
        assert ask(run_dir=tmp_path / "run").digest() == first.digest()

    def test_progress_tells_the_truth(self) -> None:
        events: list[ProgressEvent] = []
        report = ask(progress=events.append)
        assert events[-1].found == len(report)
        assert events[-1].done == pytest.approx(1.0)
        for before, after in itertools.pairwise(events):
            assert before.done <= after.done
            assert before.found <= after.found
            assert before.seconds <= after.seconds
        assert {(event.stage, event.total) for event in events} == {("regions", 1.0)}


def test_a_small_finished_run_answers_without_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(run_dir=tmp_path / "run")
    monkeypatch.setattr(_work, "_explore", None)
    assert ask(run_dir=tmp_path / "run").digest() == first.digest()


def test_a_count_resumes_too(tmp_path: Path) -> None:
    first = count_regions(CHAIN, BOX, run_dir=tmp_path / "run")
    again = count_regions(CHAIN, BOX, run_dir=tmp_path / "run")
    assert dataclasses.replace(first, seconds=0) == dataclasses.replace(again, seconds=0)
    assert first.total == len(ask())


class TestLimits:
    @pytest.mark.parametrize("most", [1, 2, 50, 200])
    @pytest.mark.parametrize("method", ["simplex", "lp"])
    def test_as_many_as_asked_for(self, most: int, method: str) -> None:
        whole = ask()
        report = ask(max_regions=most, method=method)
        assert report.outcome is Outcome.MAX_REGIONS
        assert len(report) == len(report.witnesses) == most
        assert report.layer_counts[-1] == most
        assert (whole.locate(report.witnesses) >= 0).all()
        assert 0 < report.explored < 1
        assert not report.outcome.complete
        assert "raise the limit" in str(report)
        assert count_regions(CHAIN, BOX, max_regions=most, method=method).total == most

    def test_a_limit_that_is_just_enough(self) -> None:
        whole = ask()
        for most in (len(whole), len(whole) + 1, 10**9):
            report = ask(max_regions=most)
            assert report.outcome is Outcome.COMPLETE
            assert report.digest() == whole.digest()
        assert ask(max_regions=len(whole) - 1).outcome is Outcome.MAX_REGIONS

    @cut
    @pytest.mark.parametrize("most", [1, 40, 200])
    def test_the_same_regions_for_any_executor(self, most: int) -> None:
        alone = ask(max_regions=most)
        assert len(alone) == most
        with ThreadPoolExecutor(3) as threads:
            assert np.array_equal(ask(max_regions=most, executor=threads).signs, alone.signs)
        adversary = AdversarialExecutor(seed=2)
        try:
            report = ask(max_regions=most, executor=adversary)
        finally:
            adversary.end()
        assert np.array_equal(report.signs, alone.signs)
        assert np.array_equal(report.witnesses, alone.witnesses)

    @cut
    @pytest.mark.parametrize("most", [1, 5, 40])
    def test_the_same_regions_whatever_was_done_before(self, most: int, tmp_path: Path) -> None:
        ask(run_dir=tmp_path / "run", progress=stop_after(12))
        later = ask(run_dir=tmp_path / "run", max_regions=most)
        assert np.array_equal(later.signs, ask(max_regions=most).signs)

    @pytest.mark.parametrize("most", [1, 5, 40])
    def test_the_same_regions_of_a_finished_run(self, most: int, tmp_path: Path) -> None:
        ask(run_dir=tmp_path / "run")
        later = ask(run_dir=tmp_path / "run", max_regions=most)
        assert np.array_equal(later.signs, ask(max_regions=most).signs)

    @cut
    @pytest.mark.parametrize("most", [20, 60])
    def test_the_same_regions_of_finished_tasks_that_are_too_large(
        self, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_work, "_TASKS_WANTED", 3)
        ask(run_dir=tmp_path / "run")
        later = ask(run_dir=tmp_path / "run", max_regions=most)
        assert later.outcome is Outcome.MAX_REGIONS
        assert len(later) == most
        assert np.array_equal(later.signs, ask(max_regions=most).signs)
        assert ask(run_dir=tmp_path / "run").digest() == ask().digest()

    @cut
    def test_a_limited_run_goes_on(self, tmp_path: Path) -> None:
        assert ask(run_dir=tmp_path / "run", max_regions=30).outcome is Outcome.MAX_REGIONS
        assert ask(run_dir=tmp_path / "run").digest() == ask().digest()

    @cut
    def test_time_runs_out_and_the_run_goes_on(self, tmp_path: Path) -> None:
        seen = itertools.count()

        def dawdle(_: ProgressEvent) -> None:
            if next(seen) == 5:
                time.sleep(0.8)

        part = ask(run_dir=tmp_path / "run", time_limit=0.7, progress=dawdle)
        assert part.outcome is Outcome.TIME_LIMIT
        assert len(part) < len(ask())
        assert part.explored < 1
        assert "give more time" in str(part)
        assert ask(run_dir=tmp_path / "run").digest() == ask().digest()

    def test_no_time_at_all(self) -> None:
        report = ask(time_limit=1e-9, method="lp")
        assert report.outcome is Outcome.TIME_LIMIT
        assert len(report) < len(ask())

    def test_time_is_kept_inside_a_task(self) -> None:
        start = time.monotonic()
        report = enumerate_regions(example("digits").chain, (0, 1), time_limit=0.5)
        assert report.outcome is Outcome.TIME_LIMIT
        assert time.monotonic() - start < 10
        assert report.explored < 1

    def test_plenty_of_time(self) -> None:
        assert ask(time_limit=600.0).digest() == ask().digest()


class TestMismatch:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"domain": (-1, 2)}, r'"parameters.domain" was .*\[-1, 1\]\^3.* is .*\[-1, 2\]\^3'),
            ({"domain": WholeSpace(3)}, r'"parameters.domain" was .*\[-1, 1\]\^3.* is .*R\^3'),
            ({"tolerance": 1e-7}, r'"parameters.tolerance" was 1e-09 .* is 1e-07'),
            ({"method": "lp"}, r"\"parameters.method\" was 'vertices' .* is 'lp'"),
            ({"keep": ("signs",)}, r'"parameters.witnesses" was True .* is False'),
        ],
    )
    def test_another_question(self, options: dict[str, Any], words: str, tmp_path: Path) -> None:
        ask(run_dir=tmp_path / "run")
        asked = {"network": CHAIN, "domain": BOX, **options}
        with pytest.raises(RunMismatchError, match=words):
            enumerate_regions(run_dir=tmp_path / "run", **asked)

    def test_another_network(self, tmp_path: Path) -> None:
        ask(run_dir=tmp_path / "run")
        other = random_network([3, 8, 8, 2], rng=1)
        with pytest.raises(RunMismatchError, match=r'"parameters.network" was .* use another'):
            enumerate_regions(other, BOX, run_dir=tmp_path / "run")

    def test_counts_and_lists_are_different_runs(self, tmp_path: Path) -> None:
        count_regions(CHAIN, BOX, run_dir=tmp_path / "run")
        with pytest.raises(RunMismatchError, match="another run"):
            ask(run_dir=tmp_path / "run")

    def test_ways_to_compute_are_no_mismatch(self, tmp_path: Path) -> None:
        first = ask(run_dir=tmp_path / "run", max_regions=3)
        with ThreadPoolExecutor(2) as threads:
            again = ask(run_dir=tmp_path / "run", executor=threads, time_limit=60.0)
        assert len(first) == 3
        assert again.outcome.complete

    def test_equal_domains_are_equal(self, tmp_path: Path) -> None:
        ask(run_dir=tmp_path / "run")
        same = enumerate_regions(CHAIN, Box([-1.0] * 3, [1.0] * 3), run_dir=tmp_path / "run")
        assert same.outcome.complete

    def test_a_directory_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("hello")
        with pytest.raises(FileExistsError, match=r"mine\.txt.*empty or not there"):
            ask(run_dir=tmp_path)
        assert (tmp_path / "mine.txt").read_text() == "hello"


class TestMemory:
    def peak(self, use: Callable[[], object]) -> int:
        use()  # whatever is loaded or compiled on the way
        tracemalloc.start()
        try:
            use()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_counting_needs_no_more_for_more_regions(self) -> None:
        chain = random_network([3, 24, 24, 1], rng=0)
        few, many = (
            self.peak(lambda half=half: count_regions(chain, (-half, half)))  # type: ignore[misc]
            for half in (0.3, 3.0)
        )
        assert count_regions(chain, (-3, 3)).total > 5 * count_regions(chain, (-0.3, 0.3)).total
        assert many < 2 * few + 2**20

    def test_iterating_needs_no_more_for_more_regions(self) -> None:
        chain = random_network([3, 24, 24, 1], rng=0)

        def walk(count: int) -> Callable[[], object]:
            regions = lambda: iter_regions(chain, (-1, 1))  # noqa: E731
            return lambda: sum(1 for _ in itertools.islice(regions(), count))

        few, many = self.peak(walk(300)), self.peak(walk(5000))
        assert many < 1.5 * few + 2**18

    def test_iterating_is_lazy(self) -> None:
        start = time.monotonic()
        regions = iter_regions(example("digits").chain, (0, 1))
        first = [tuple(region.signs) for region in itertools.islice(regions, 300)]
        assert len(set(first)) == 300
        assert time.monotonic() - start < 10
        regions.close()  # type: ignore[attr-defined]

    def test_iterating_finds_everything_once(self) -> None:
        chain = arrangement("shi", 4)
        found = [tuple(region.signs) for region in iter_regions(chain, WholeSpace(4))]
        assert len(found) == len(set(found)) == 125
