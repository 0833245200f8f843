"""Executors of other projects on several processes: Dask, MPI, Ray."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from byways.networks import random_network
from byways.regions import _work, enumerate_regions
from byways.runs import RunDirectory, run_tasks
from tests.runs.queues import CONTEXT, IDENTITY
from tests.runs.workloads import describe_process, expected, found, make_tasks, multiply

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


@pytest.fixture
def programs() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(programs: ExitStack, *words: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    programs.callback(process.wait)
    programs.callback(process.kill)
    return process


@pytest.fixture
def local_cluster(programs: ExitStack) -> Executor:
    """A Dask cluster that the client's process starts."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    client = programs.enter_context(distributed.Client(programs.enter_context(cluster)))
    executor: Executor = client.get_executor(pure=False)
    return executor


@pytest.fixture
def far_cluster(programs: ExitStack, tmp_path: Path) -> Executor:
    """A Dask scheduler and two workers, each a process of its own."""
    distributed = pytest.importorskip("distributed")
    place = tmp_path / "scheduler.json"
    quiet = ["--no-dashboard", "--host", "127.0.0.1"]
    start(
        programs, "distributed.cli.dask_scheduler", *quiet, "--port", 0, "--scheduler-file", place
    )
    for name in ("one", "two"):
        start(
            programs,
            *("distributed.cli.dask_worker", "--scheduler-file", place, *quiet, "--no-nanny"),
            *("--nthreads", 1, "--local-directory", tmp_path / name),
        )
    client = programs.enter_context(distributed.Client(scheduler_file=str(place), timeout="30s"))
    client.wait_for_workers(2, timeout=30)
    executor: Executor = client.get_executor(pure=False)
    return executor


@pytest.mark.parametrize(
    "kind", ["local_cluster", pytest.param("far_cluster", marks=pytest.mark.slow)]
)
def test_dask(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    executor = request.getfixturevalue(kind)
    tasks = make_tasks(40)
    with RunDirectory.create(tmp_path / "run", **IDENTITY) as run:
        pairs = run_tasks(multiply, tasks, context=CONTEXT, executor=executor, journal=run)
        assert found([result for _, result in pairs]) == expected(40)
        assert found(list(run.results())) == expected(40)
    processes = {
        int(result.counts["pid"])
        for _, result in run_tasks(describe_process, tasks, context=CONTEXT, executor=executor)
    }
    assert (processes == {os.getpid()}) == (kind == "local_cluster")
    assert len(processes) <= 2


@pytest.mark.slow
def test_a_network_on_dask(far_cluster: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_work, "_SMALL_LEAVES", 100)
    chain = random_network([3, 10, 10, 2], rng=0)
    found_there = enumerate_regions(chain, (-1, 1), executor=far_cluster)
    assert found_there.digest() == enumerate_regions(chain, (-1, 1)).digest()


# Open MPI asks for more cores than processes, and not to be root, unless it is told otherwise.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
}
MPI = """
import os
from mpi4py.futures import MPIPoolExecutor
from byways.runs import run_tasks
from tests.runs.workloads import Scale, describe_process, expected, found, make_tasks, multiply
if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        options = {"context": Scale(3), "executor": executor}
        pairs = list(run_tasks(multiply, make_tasks(40), **options))
        assert found([result for _, result in pairs]) == expected(40)
        pids = {r.counts["pid"] for _, r in run_tasks(describe_process, make_tasks(8), **options)}
        print(len(pids), os.getpid() in pids)
"""


def test_mpi(tmp_path: Path) -> None:
    if "BYWAYS_TEST_MPI" not in os.environ:  # whoever sets it wants this test to run
        pytest.importorskip("mpi4py")
        if shutil.which("mpiexec") is None:
            pytest.skip("there is no mpiexec")
    (tmp_path / "program.py").write_text(MPI)
    done = subprocess.run(
        ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", "program.py"],
        cwd=tmp_path,
        env=ENVIRONMENT | OPEN_MPI,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, here = done.stdout.split()
    assert here == "False"
    assert int(count) in (1, 2)  # eight tasks may all be done by the worker that was there first


def recipe() -> type[Executor]:
    """Read the executor out of the documentation, so that it is what is tested."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    code = text.partition("## Ray")[2].partition("```python\n")[2].partition("ray.init()")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    executor: type[Executor] = names["RayExecutor"]
    return executor


@pytest.mark.slow
def test_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])  # for what init starts
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        pairs = run_tasks(multiply, make_tasks(40), context=CONTEXT, executor=recipe()())
        assert found([result for _, result in pairs]) == expected(40)
    finally:
        ray.shutdown()
