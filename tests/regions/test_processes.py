"""Enumerations in processes of their own that are killed or interrupted, and go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from byways.core.chain import LayerChain
from byways.networks import random_network
from byways.regions import enumerate_regions
from byways.runs import RunDirectory
from tests.regions.master import BOX
from tests.regions.nets import saved

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def chain_file(tmp_path: Path) -> Path:
    random_network([4, 10, 10, 2], rng=0).save(tmp_path / "chain.npz")
    return tmp_path / "chain.npz"


class Program:
    """``tests.regions.master`` as a process of its own."""

    def __init__(self, chain: Path, run: Path, workers: int) -> None:
        self.run = run
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.regions.master"),
                *(str(chain), str(run), "lp", str(workers)),
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_results(self, count: int) -> None:
        end = time.monotonic() + 60
        while self.done() < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "no results came"
            time.sleep(0.02)

    def done(self) -> int:
        if not (self.run / "manifest.json").exists():
            return 0
        with RunDirectory.open(self.run) as run:
            return len(run.done_keys())


@pytest.fixture
def start(chain_file: Path, tmp_path: Path) -> Iterator[Callable[[int], Program]]:
    programs: list[Program] = []

    def begin(workers: int) -> Program:
        programs.append(Program(chain_file, tmp_path / "run", workers))
        return programs[-1]

    yield begin
    for program in programs:
        if program.process.poll() is None:
            os.killpg(program.process.pid, signal.SIGKILL)
        program.process.communicate()


@pytest.mark.slow
@pytest.mark.usefixtures("_cut_early")
class TestProcesses:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_kill_9_in_mid_run(
        self,
        workers: int,
        start: Callable[[int], Program],
        chain_file: Path,
        tmp_path: Path,
    ) -> None:
        chain = LayerChain.load(chain_file)
        program = start(workers)
        program.wait_for_results(3)
        os.kill(program.process.pid, signal.SIGKILL)  # the workers notice by themselves
        program.process.wait()
        with RunDirectory.open(program.run) as run:
            assert len(run.done_keys()) >= 3
        resumed = enumerate_regions(chain, BOX, method="lp", run_dir=program.run)
        whole = enumerate_regions(chain, BOX, method="lp")
        assert resumed.outcome.complete
        assert resumed.digest() == whole.digest()
        assert saved(resumed, tmp_path / "a.npz") == saved(whole, tmp_path / "b.npz")

    @pytest.mark.parametrize("workers", [1, 2])
    def test_ctrl_c_in_mid_run(
        self, workers: int, start: Callable[[int], Program], chain_file: Path
    ) -> None:
        program = start(workers)
        program.wait_for_results(3)
        program.process.send_signal(signal.SIGINT)
        output, errors = program.process.communicate(timeout=60)
        assert program.process.returncode == 0, errors
        name, found, _ = output.split()
        assert name == "INTERRUPTED"
        whole = enumerate_regions(LayerChain.load(chain_file), BOX, method="simplex")
        assert 0 < int(found) < len(whole)
        second = start(1)
        output, errors = second.process.communicate(timeout=100)
        name, found, digest = output.split()
        assert (name, int(found)) == ("COMPLETE", len(whole)), errors
        chain = LayerChain.load(chain_file)
        assert digest == enumerate_regions(chain, BOX, method="lp").digest()
