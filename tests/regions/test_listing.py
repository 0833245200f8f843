# sizes: one subject, from the places of single words to killed processes
"""Long lists in files of the run directory: the same lists, whatever stops them on the way."""

from __future__ import annotations

import dataclasses
import errno
import mmap
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byways.core.chain import LayerChain
from byways.core.errors import JournalError
from byways.core.progress import ProgressEvent
from byways.networks import random_network, tent_chain
from byways.regions import (
    Outcome,
    RegionReport,
    WholeSpace,
    _array_files,
    _listing,
    _report,
    _work,
    enumerate_regions,
)
from byways.regions._array_files import ArrayFile, blocks
from byways.regions._question import Question
from byways.regions._signs import find, lower_bound
from byways.runs import RunDirectory
from tests.regions.lister import list_signs
from tests.regions.nets import saved
from tests.regions.programs import Start
from tests.regions.test_runs import stop_after

CHAIN = random_network([3, 8, 8, 2], rng=0)

cut = pytest.mark.usefixtures("_cut_early")


@pytest.fixture
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call every list a long one."""
    monkeypatch.setattr(_listing, "_IN_MEMORY", 0)


long = pytest.mark.usefixtures("_long")


def is_mapped(array: np.ndarray) -> bool:
    return isinstance(array.base, mmap.mmap)


def names(run: Path) -> set[str]:
    return {path.name for path in run.iterdir()} - {"journal", "shards", "context.npz", "secret"}


@given(st.integers(1, 3), st.lists(st.tuples(*[st.integers(0, 2)] * 3)), st.data())
def test_places_are_those_of_a_bisection(
    width: int, rows: list[tuple[int, ...]], data: st.DataObject
) -> None:
    ordered = sorted({row[:width] for row in rows})
    wanted = data.draw(st.lists(st.tuples(*[st.integers(0, 2)] * width), max_size=9))
    words = np.array(ordered, dtype=np.uint64).reshape(-1, width)
    asked = np.array(wanted, dtype=np.uint64).reshape(-1, width)
    smaller = [sum(row < each for row in ordered) for each in wanted]
    places = [ordered.index(each) if each in ordered else -1 for each in wanted]
    assert lower_bound(asked, words).tolist() == smaller
    assert find(asked, words).tolist() == places


@long
@cut
class TestFiles:
    @pytest.mark.parametrize(
        ("widths", "domain", "method"),
        [
            ((3, 8, 8, 2), (-1, 1), "lp"),
            ((3, 8, 8, 2), (-1, 1), "simplex"),
            ((3, 8, 8, 2), (-1, 1), "vertices"),
            ((3, 6, 5, 2), WholeSpace(3), "simplex"),
            ((1, 40, 30, 1), (-1, 1), "vertices"),  # two words for each region
            ((30, 5, 5, 1), (0, 1), "wide"),
        ],
    )
    @pytest.mark.parametrize("keep", [("signs",), ("signs", "witness")])
    def test_the_same_list_as_in_memory(
        self,
        widths: tuple[int, ...],
        domain: Any,
        method: str,
        keep: tuple[str, ...],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        chain, options = random_network(widths, rng=0), {"method": method, "keep": keep}
        filed = enumerate_regions(chain, domain, run_dir=tmp_path / "run", **options)
        with RunDirectory.open(tmp_path / "run") as run:
            assert len(run.done_keys()) > 5
        assert is_mapped(filed.words)
        assert is_mapped(filed.points) == ("witness" in keep)
        assert names(tmp_path / "run") - {"points.npy"} == {"manifest.json", "words.npy"}
        stored = np.load(tmp_path / "run" / "words.npy")
        rows = [tuple(row) for row in stored.tolist()]
        assert rows == sorted(set(rows))
        memory = enumerate_regions(chain, domain, **options)
        assert filed.digest() == memory.digest()
        assert saved(filed, tmp_path / "a.npz") == saved(memory, tmp_path / "b.npz")
        monkeypatch.undo()  # one task, one part
        whole = enumerate_regions(chain, domain, **options)
        assert np.array_equal(whole.words, stored)

    def test_tents_are_counted(self, tmp_path: Path) -> None:
        report = enumerate_regions(tent_chain(11), (0, 1), run_dir=tmp_path / "run")
        assert len(report) == len(np.load(tmp_path / "run" / "words.npy")) == 2**11
        assert (report.locate(report.witnesses) == np.arange(2**11)).all()
        assert np.array_equal(report.words[:, 0], _tents(11))

    @pytest.mark.parametrize("results", [1, 9])
    def test_a_stopped_list_has_no_name(self, results: int, tmp_path: Path) -> None:
        whole = enumerate_regions(CHAIN, (-1, 1))
        options: dict[str, Any] = {"run_dir": tmp_path / "run"}
        part = enumerate_regions(CHAIN, (-1, 1), progress=stop_after(results), **options)
        assert part.outcome is Outcome.INTERRUPTED
        assert is_mapped(part.words)
        if os.name == "posix":
            assert names(tmp_path / "run") == {"manifest.json"}
        resumed = enumerate_regions(CHAIN, (-1, 1), **options)
        assert resumed.digest() == whole.digest()
        place = whole.locate(part.witnesses)  # the earlier map is still what it was
        assert np.array_equal(whole.words[place], part.words)

    @pytest.mark.parametrize("most", [1, 7, 60])
    def test_limits(self, most: int, tmp_path: Path) -> None:
        plain = enumerate_regions(CHAIN, (-1, 1), max_regions=most)
        for _ in range(2):  # a fresh run, then one of which parts are known
            part = enumerate_regions(CHAIN, (-1, 1), max_regions=most, run_dir=tmp_path / "run")
            assert part.outcome is Outcome.MAX_REGIONS
            assert np.array_equal(part.words, plain.words)
            assert np.array_equal(part.points, plain.points)
        whole = enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
        assert whole.digest() == enumerate_regions(CHAIN, (-1, 1)).digest()
        part = enumerate_regions(CHAIN, (-1, 1), max_regions=most, run_dir=tmp_path / "run")
        assert np.array_equal(part.words, plain.words)

    def test_certified_lists_stay_in_memory(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"exact": "certified", "run_dir": tmp_path / "run"}
        report = enumerate_regions(random_network([2, 4, 3, 1], rng=0), (-1, 1), **options)
        assert report.certificate is not None
        assert not is_mapped(report.words)

    def test_no_hidden_layer(self, tmp_path: Path) -> None:
        chain = LayerChain.from_arrays([([[1.0, 2.0]], [0.0])])
        assert len(enumerate_regions(chain, (-1, 1), run_dir=tmp_path / "run")) == 1


@cut
class TestWhatAReportCanDo:
    @pytest.fixture
    def pair(self, tmp_path: Path, _long: None) -> tuple[RegionReport, RegionReport]:
        filed = enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
        assert is_mapped(filed.words)
        return filed, enumerate_regions(CHAIN, (-1, 1))

    def test_all_of_it(self, pair: tuple[RegionReport, RegionReport], tmp_path: Path) -> None:
        filed, memory = pair
        questions: list[Callable[[RegionReport], Any]] = [
            len,
            lambda r: r.signs,
            lambda r: r.bits,
            lambda r: r.witnesses,
            lambda r: r.signs_of(slice(3, 9)),
            lambda r: r.signs_of([5, 1]),
            lambda r: [(region.signs.tolist(), list(region.witness)) for region in r],
            lambda r: r.affine(np.arange(4)).weight,
            lambda r: r.locate(memory.witnesses),
            lambda r: r.ranks(),
            lambda r: r.adjacency().toarray(),
            lambda r: r.distinct_maps(connected=True),
            lambda r: r.minimize(0)[0],
            lambda r: r.lipschitz(),
            lambda r: r.integral(),
            lambda r: r.rows(),
            lambda r: r.volume(7),
            str,
        ]
        filed = dataclasses.replace(filed, seconds=memory.seconds)
        for ask in questions:
            found, expected = ask(filed), ask(memory)
            assert np.array_equal(found, expected) if hasattr(found, "shape") else found == expected
        filed.save(tmp_path / "saved.npz")
        again = RegionReport.load(tmp_path / "saved.npz")
        assert again.digest() == pickle.loads(pickle.dumps(filed)).digest() == memory.digest()
        assert not filed.words.flags.writeable

    def test_arrays_that_memory_would_not_hold(
        self, pair: tuple[RegionReport, RegionReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_report, "_MOST_BYTES", 1000)
        for report in pair:
            for name in ("signs", "bits", "witnesses"):
                with pytest.raises(MemoryError, match=rf'"{name}" of {len(report)} regions.*GiB'):
                    getattr(report, name)
            assert len(report.signs_of(slice(0, 5))) == 5
            assert sum(1 for _ in report) == len(report)

    def test_blocks_are_the_array(self, pair: tuple[RegionReport, RegionReport]) -> None:
        for report in pair:
            for rows in (1, 7, 10**6):
                assert np.array_equal(
                    np.concatenate(list(blocks(report.words, rows))), report.words
                )


@long
@cut
class TestTrouble:
    def test_a_full_disk(self, tmp_path: Path) -> None:
        resource = pytest.importorskip("resource", reason="limits of POSIX")
        whole = enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
        (tmp_path / "run" / "words.npy").unlink()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(OSError, match=r"words\.npy|points\.npy") as caught:
                enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.errno == errno.EFBIG  # what this limit says in place of ENOSPC
        assert names(tmp_path / "run") == {"manifest.json", "points.npy"}
        again = enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
        assert again.digest() == whole.digest()

    @pytest.mark.parametrize("block", [0, 1, 20])
    def test_stopped_while_it_is_written(
        self, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add, calls = ArrayFile.add, iter(range(10**6))

        def stop(self: ArrayFile, rows: np.ndarray) -> None:
            if next(calls) == block:
                raise KeyboardInterrupt
            add(self, rows)

        with monkeypatch.context() as patch:
            patch.setattr(ArrayFile, "add", stop)
            with pytest.raises(KeyboardInterrupt):
                enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
        assert names(tmp_path / "run") == {"manifest.json"}
        again = enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
        assert again.digest() == enumerate_regions(CHAIN, (-1, 1)).digest()

    def test_drafts_of_the_dead_are_removed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
        old, young = (tmp_path / "run" / f".words.npy.{k}.part" for k in "ab")
        for draft in (old, young):
            draft.write_bytes(b"half a list")
        long_ago = time.time() - 2 * _array_files._ABANDONED_SECONDS
        os.utime(old, (long_ago, long_ago))
        enumerate_regions(CHAIN, (-1, 1), run_dir=tmp_path / "run")
        assert not old.exists()
        assert young.exists()  # another process may be writing it

    def test_shards_that_do_not_hold_what_was_promised(self, tmp_path: Path) -> None:
        question = enumerate_regions(CHAIN, (-1, 1), keep=("signs",)).question
        part = _listing.Part("whole", 0, 2**64, 4, 0, {"words": np.zeros((3, 1), np.uint64)})
        about: dict[str, Any] = {"pass_name": "regions", "parameters": {}, "context": question}
        with RunDirectory.create(tmp_path / "run", **about) as run:
            with pytest.raises(JournalError, match="hold 3 regions and its journals promise 4"):
                _listing.lay_out(question, [part], run, complete=True)
            assert names(tmp_path / "run") == {"manifest.json"}


@long
def test_another_result_of_a_task_was_first(tmp_path: Path) -> None:
    """Another master with other shares writes at the same time; its journal sorts first."""
    options: dict[str, Any] = {"method": "simplex", "run_dir": tmp_path / "run"}
    with RunDirectory.create(
        tmp_path / "run",
        pass_name="regions",
        parameters=_asked().parameters(),
        context=_asked(),
    ):
        pass
    other = _work.work(_asked(), _work.whole(None, None))

    journals = tmp_path / "run" / "journal"

    def meanwhile(event: ProgressEvent) -> None:
        if event.found and not (journals / "0.jsonl").exists():
            before = set(journals.iterdir())
            with RunDirectory.open(tmp_path / "run") as run:
                run.append(dataclasses.replace(other, counts=other.counts | {"work": 1}))
            (written,) = set(journals.iterdir()) - before
            written.rename(journals / "0.jsonl")

    with pytest.raises(JournalError, match=r"two results of task 'whole'.*call again"):
        enumerate_regions(CHAIN, (-1, 1), progress=meanwhile, **options)
    again = enumerate_regions(CHAIN, (-1, 1), **options)
    assert again.digest() == enumerate_regions(CHAIN, (-1, 1), method="simplex").digest()


def _asked() -> Question:
    return enumerate_regions(CHAIN, (-1, 1), method="simplex").question


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals and resident sizes of POSIX")
def test_sixteen_million_regions_survive_kill_9_in_little_memory(
    start: Start, tmp_path: Path
) -> None:
    levels, run, chain = 24, tmp_path / "run", tmp_path / "chain.npz"
    tent_chain(levels).save(chain)

    def bytes_written() -> int:
        return sum(path.stat().st_size for path in run.glob("shards/*.npz"))

    first = start("tests.regions.lister", chain, run, 2)
    first.wait_until(lambda: bytes_written() > 20 << 20)  # of 128 MiB
    first.kill()
    assert not list(run.glob("*.npy"))
    second = start("tests.regions.lister", chain, run, 1)
    second.wait_until(lambda: any(p.stat().st_size > 1 << 20 for p in run.glob(".words.npy.*")))
    second.kill()
    assert not list(run.glob("*.npy"))
    third = start("tests.regions.lister", chain, run, 2)
    (outcome, found, digest, master), largest = third.finish()
    assert (outcome, int(found)) == ("COMPLETE", 2**levels)
    assert 20 < int(master) < 1000  # an interpreter with NumPy takes more than 20
    assert largest < 1000  # workers included
    report = list_signs(tent_chain(levels), run, 1)
    assert is_mapped(report.words)
    assert np.array_equal(report.words[:, 0], _tents(levels))
    memory = dataclasses.replace(report, words=_tents(levels)[:, None])
    assert memory.digest() == report.digest() == digest


def _tents(levels: int) -> np.ndarray:
    """Give the words of tents in order: on each level one unit is on, and one to the right."""
    number, words = np.arange(2**levels, dtype=np.uint64), np.zeros(2**levels, dtype=np.uint64)
    for level in range(levels):
        right = (number >> np.uint64(levels - 1 - level)) & np.uint64(1)
        words |= (right | np.uint64(2)) << np.uint64(62 - 2 * level)
    return words
