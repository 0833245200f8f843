"""Enumerations in processes of their own that are killed or interrupted, and go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from byways.core.chain import LayerChain
from byways.networks import random_network
from byways.regions import enumerate_regions
from byways.runs import RunDirectory
from tests.regions.master import BOX
from tests.regions.nets import saved
from tests.regions.programs import Program, Start

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def chain_file(tmp_path: Path) -> Path:
    random_network([4, 10, 10, 2], rng=0).save(tmp_path / "chain.npz")
    return tmp_path / "chain.npz"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def begin(start: Start, chain_file: Path, run: Path) -> Callable[[int], Program]:
    """Start the master with so many workers."""
    return lambda workers: start("tests.regions.master", chain_file, run, "lp", workers)


def done(run: Path) -> int:
    if not (run / "manifest.json").exists():
        return 0
    with RunDirectory.open(run) as directory:
        return len(directory.done_keys())


@pytest.mark.slow
@pytest.mark.usefixtures("_cut_early")
class TestProcesses:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_kill_9_in_mid_run(
        self,
        workers: int,
        begin: Callable[[int], Program],
        chain_file: Path,
        run: Path,
        tmp_path: Path,
    ) -> None:
        chain = LayerChain.load(chain_file)
        program = begin(workers)
        program.wait_until(lambda: done(run) >= 3)
        program.kill()
        assert done(run) >= 3
        resumed = enumerate_regions(chain, BOX, method="lp", run_dir=run)
        whole = enumerate_regions(chain, BOX, method="lp")
        assert resumed.outcome.complete
        assert resumed.digest() == whole.digest()
        assert saved(resumed, tmp_path / "a.npz") == saved(whole, tmp_path / "b.npz")

    @pytest.mark.parametrize("workers", [1, 2])
    def test_ctrl_c_in_mid_run(
        self, workers: int, begin: Callable[[int], Program], chain_file: Path, run: Path
    ) -> None:
        program = begin(workers)
        program.wait_until(lambda: done(run) >= 3)
        program.process.send_signal(signal.SIGINT)
        output, errors = program.process.communicate(timeout=60)
        assert program.process.returncode == 0, errors
        name, found, _ = output.split()
        assert name == "INTERRUPTED"
        whole = enumerate_regions(LayerChain.load(chain_file), BOX, method="simplex")
        assert 0 < int(found) < len(whole)
        (name, found, digest), _ = begin(1).finish()
        assert (name, int(found)) == ("COMPLETE", len(whole))
        chain = LayerChain.load(chain_file)
        assert digest == enumerate_regions(chain, BOX, method="lp").digest()
