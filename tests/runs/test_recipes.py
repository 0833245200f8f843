"""The recipes of docs/cluster.md, read out of it and executed.

Names that stand for something of the reader's (paths, a network, a hundred jobs) are replaced; all
else is run as it is written.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from byways.networks import random_network
from byways.regions import count_regions, enumerate_regions
from tests.runs.test_clusters import ENVIRONMENT, OPEN_MPI, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="the recipes are for POSIX"),
]
TEXT = (ROOT / "docs" / "cluster.md").read_text()
CHAIN = random_network([3, 6, 6, 2], rng=0)
# What a recipe takes for granted; a small question is cut as a large one would be.
PROLOGUE = """
import byways as bw
from byways.networks import random_network
from byways.regions import _work
from tests.regions.master import EARLY
vars(_work).update(EARLY)
chain, box = random_network([3, 6, 6, 2], rng=0), (-1, 1)
"""

PROGRAM = """
from byways.cli import main
from byways.regions import _work
from tests.regions.master import EARLY
vars(_work).update(EARLY)
if __name__ == "__main__":
    raise SystemExit(main())
"""


def recipe(heading: str, language: str, number: int = 0) -> str:
    """Give a block of code under a heading."""
    section = TEXT.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)[number]


def replaced(text: str, *pairs: tuple[str, object]) -> str:
    """Replace what stands for something else; each must be there."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, str(new))
    return text


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """A folder of commands, with ``byways`` among them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    command(folder / "byways", f'exec {sys.executable} {folder / "program.py"} "$@"')
    return folder


def command(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def bash(script: str, bin_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the recipes to its end."""
    path = f"{bin_dir}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        env=ENVIRONMENT | {"PATH": path} | environment,
        cwd=bin_dir.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@contextlib.contextmanager
def master(tmp_path: Path, bin_dir: Path, words: str) -> Iterator[None]:
    """Run a master of a count beside what is done here, and check that it ends with all regions."""
    CHAIN.save(tmp_path / "model.npz")
    words = replaced(words, ("model.onnx", tmp_path / "model.npz"))
    path = f"{bin_dir}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-c", f"exec {words} --json"],
        env=ENVIRONMENT | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert f'"regions": {count_regions(CHAIN, (-1, 1)).total},' in output


def first_command(script: str) -> str:
    """Give the first command after a prompt."""
    return next(line[2:] for line in script.splitlines() if line.startswith("$ "))


def test_a_shared_folder(tmp_path: Path, bin_dir: Path) -> None:
    """Master and worker as the console shows them, the worker as Slurm would start it."""
    run = tmp_path / "run"
    words = first_command(recipe("A shared folder", "console"))
    words = replaced(words, ("/shared/runs/model", run))
    job = replaced(recipe("A shared folder", "bash"), ("/shared/runs/model", run))
    with master(tmp_path, bin_dir, words):
        told = bash(job, bin_dir).stderr
    assert re.search(r"worker finished [1-9]", told)


def test_a_master_in_python(tmp_path: Path, bin_dir: Path) -> None:
    run = tmp_path / "run"
    code = replaced(
        recipe("A shared folder", "python"), ("/shared/runs/model", run), ("=True", "=False")
    )
    program = tmp_path / "program.py"
    program.write_text(f"{PROLOGUE}\n{code}\nprint(report.digest())\n")
    script = f"byways worker {run} --idle 30 & {sys.executable} {program}; wait"
    assert bash(script, bin_dir).stdout.split() == [enumerate_regions(CHAIN, (-1, 1)).digest()]


def test_a_service(tmp_path: Path, bin_dir: Path) -> None:
    """systemd has nothing to say against the unit, and its command works."""
    run, settings = tmp_path / "run", tmp_path / "byways.env"
    queue = os.environ.get("BYWAYS_TEST_AMQP", "folder")
    settings.write_text(f"BYWAYS_AMQP_URL={queue}\n")
    unit = replaced(
        recipe("RabbitMQ", "ini"),
        ("/opt/byways/bin/byways", bin_dir / "byways"),
        ("/shared/runs/model", run),
        ("/etc/byways.env", settings),
    )
    path = tmp_path / "byways-worker@.service"
    path.write_text(unit)
    if (verify := shutil.which("systemd-analyze")) is not None:
        done = subprocess.run(
            [verify, "verify", path], capture_output=True, text=True, check=False, timeout=30
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    fields = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"\w+=", line))
    (variable, _, value) = Path(fields["EnvironmentFile"]).read_text().strip().partition("=")
    served = fields["ExecStart"] if queue != "folder" else replaced(
        fields["ExecStart"], ("amqp", "folder")
    )  # fmt: skip
    words = f"byways regions model.onnx --box=-1,1 --run-dir {run} --queue {queue}"
    with master(tmp_path, bin_dir, words):
        told = bash(served, bin_dir, **{variable: value}).stderr
    assert re.search(r"worker finished [1-9]", told)


SBATCH = """
script="${@: -1}"
bash "$script" > "$script.log" 2>&1 &
echo "Submitted batch job $!"
"""


def test_slurm_through_dask_jobqueue(tmp_path: Path, bin_dir: Path) -> None:
    """Dask-jobqueue writes its scripts for Slurm; a command in the place of sbatch runs them."""
    pytest.importorskip("dask_jobqueue")
    command(bin_dir / "sbatch", SBATCH)
    command(bin_dir / "scancel", 'kill "$@" || true')
    code = replaced(
        recipe("Dask, and Slurm", "python"), ("jobs=100", "jobs=2"), ("runs/model", tmp_path / "r")
    )
    body = f"{PROLOGUE}\n{code}\ncluster.close()\nprint(report.digest())"
    guarded = 'if __name__ == "__main__":\n' + "\n".join(f"    {x}" for x in body.splitlines())
    (tmp_path / "program.py").write_text(guarded)
    done = bash(f"{sys.executable} program.py", bin_dir)
    assert done.stdout.split()[-1] == enumerate_regions(CHAIN, (-1, 1)).digest()


def test_mpi(tmp_path: Path, bin_dir: Path) -> None:
    pytest.importorskip("mpi4py")
    if shutil.which("mpiexec") is None:
        pytest.skip("there is no mpiexec")
    start = replaced(
        first_command(recipe("MPI", "console")), ("-n 65 python", f"-n 3 {sys.executable}")
    )
    program = replaced(recipe("MPI", "python"), ("runs/model", tmp_path / "run"))
    ending = "        print(report.digest())\n"
    (tmp_path / "count.py").write_text(PROLOGUE + program + ending)
    done = bash(start, bin_dir, **OPEN_MPI)
    assert done.stdout.split() == [enumerate_regions(CHAIN, (-1, 1)).digest()]


@contextlib.contextmanager
def clients(real: Path, *mounts: Path) -> Iterator[None]:
    """Mount a folder several times, each mount with caches of its own, as clients of NFS have."""
    if shutil.which("bindfs") is None or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("bindfs cannot mount here")
    caches = "attr_timeout=3,entry_timeout=3,negative_timeout=3"
    real.mkdir()
    with contextlib.ExitStack() as stack:
        for mount in mounts:
            mount.mkdir()
            subprocess.run(["bindfs", "-o", caches, real, mount], check=True, timeout=30)
            stack.callback(subprocess.run, ["umount", "--lazy", mount], check=True)
        yield


def test_a_folder_with_stale_caches(tmp_path: Path, bin_dir: Path) -> None:
    """Master and workers see each other's files late; one worker is killed, the answer is whole."""
    real, here, there, third = (tmp_path / name for name in ("real", "here", "there", "third"))
    with clients(real, here, there, third):
        words = f"byways regions model.onnx --box=-1,1 --run-dir {here / 'run'} --queue folder"
        with master(tmp_path, bin_dir, words):
            bash(
                f"byways worker {there / 'run'} --lease 6 & first=$!\n"
                f"until ls {real / 'run' / 'queue' / 'claims'} | grep -q .; do sleep 0.01; done\n"
                f"kill -9 $first\n"
                f"byways worker {third / 'run'} --lease 6",
                bin_dir,
            )
