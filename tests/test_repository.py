"""Checks of the repository as a whole: packaging, start-up budgets, sizes."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import byways
from byways.core import Box
from byways.networks.generate import tent_chain
from byways.regions import _work, count_regions
from tools.sizes import check_file

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
SOURCES = sorted((ROOT / "src" / "byways").rglob("*.py"))

COLLECTIVE = {"all", "test", "docs", "dev"}  # extras that gather others or serve developers
RESERVED = {"smt"}  # names kept for parts that are not there yet
MODULE_OF_PROJECT = {"z3-solver": "z3", "distributed": "distributed"}
HEAVY = {"torch", "onnx", "matplotlib", "pandas", "scipy", "numba", "highspy", "cyclopts", "tqdm"}


def project_name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()


def run_python(code: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@functools.cache
def optional_users() -> set[tuple[str, str, str]]:
    """Give ``(file, module, extra)`` of every use of an optional package.

    It is a call ``require("module", extra="...")``, or a port, a class that has both attributes.
    """
    users = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                given["module"] = node.args[0]
            elif isinstance(node, ast.ClassDef):
                named = [one for one in node.body if isinstance(one, ast.AnnAssign) and one.value]
                given = {getattr(one.target, "id", ""): one.value for one in named}
            else:
                continue
            values = [getattr(given.get(name), "value", None) for name in ("module", "extra")]
            if all(isinstance(value, str) and value for value in values):
                users.add((path.name, *values))
    return users


@functools.cache
def imported_modules() -> set[str]:
    """Give the top-level module of every import statement and call of ``require`` in the source."""
    found = {module.partition(".")[0] for _, module, _ in optional_users()}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    return found


def test_version_stands_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    number = re.escape(byways.__version__)
    pattern = re.compile(rf"""version["']?\s*[:=]\s*["']{number}["']""", re.IGNORECASE)
    holders = [path.name for path in SOURCES if pattern.search(path.read_text())]
    assert holders == []  # nobody but __version__ (whose underscores the pattern does not match)


def test_changelog_and_citation_know_the_version() -> None:
    assert f"[{byways.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^version: {re.escape(byways.__version__)}$", citation, re.MULTILINE)


def test_hard_dependencies_are_the_decided_ones() -> None:
    names = {project_name(requirement) for requirement in PROJECT["dependencies"]}
    assert names == {"cyclopts", "highspy", "numba", "numpy", "scipy", "threadpoolctl", "tqdm"}


def test_no_dependency_has_an_upper_bound() -> None:
    listed = [*PROJECT["dependencies"], *(one for group in EXTRAS.values() for one in group)]
    assert [requirement for requirement in listed if re.search(r"<|==|~=", requirement)] == []


def test_all_gathers_every_extra() -> None:
    (everything,) = EXTRAS["all"]
    gathered = everything.removeprefix("byways[").removesuffix("]").split(",")
    assert set(gathered) == set(EXTRAS) - COLLECTIVE


@pytest.mark.parametrize(("file", "module", "extra"), sorted(optional_users()))
def test_required_module_is_in_the_extra_it_names(file: str, module: str, extra: str) -> None:
    assert extra in EXTRAS, f"{file} names the extra {extra!r}"
    modules = [MODULE_OF_PROJECT.get(project_name(one), project_name(one)) for one in EXTRAS[extra]]
    assert module.partition(".")[0] in modules


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - COLLECTIVE))
def test_extra_has_a_user_or_is_reserved(extra: str) -> None:
    modules = {MODULE_OF_PROJECT.get(project_name(one), project_name(one)) for one in EXTRAS[extra]}
    assert bool(modules) != (extra in RESERVED)
    assert modules <= imported_modules()


def test_constraints_pin_every_direct_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    groups = [PROJECT["dependencies"], *EXTRAS.values()]
    direct = {project_name(one) for group in groups for one in group} - {"byways"}
    assert direct <= pinned
    assert not [line for line in lines if "@" in line or "+" in line or "://" in line]


def test_importing_byways_loads_nothing_heavy() -> None:
    code = "import sys, byways; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = set(run_python(code).split())
    assert "byways" in loaded
    assert loaded & (HEAVY | {"numpy"}) == set()


@pytest.mark.budget
def test_region_worker_loads_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")  # without it nothing could be seen here
    monkeypatch.setattr(_work, "_SMALL_WORK", {"vertices": 1000})  # beyond it, work is handed out
    names = "sorted(__import__('sys').modules)"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        count = count_regions(tent_chain(14), Box([0.0], [1.0]), executor=pool)
        loaded = pool.submit(eval, names).result()
    assert count.total == 2**14
    assert any(name.startswith("byways.regions.") for name in loaded)  # it did the work
    assert {name.partition(".")[0] for name in loaded} & {
        "torch",
        "onnx",
        "matplotlib",
        "pandas",
        "cyclopts",
    } == set()


def test_sizes_finds_what_is_too_large(tmp_path: Path) -> None:
    long_body = "".join(f"    x{i} = {i}\n" for i in range(40))
    deep = "def deep():\n" + "".join(f"{'    ' * i}if 1:\n" for i in range(1, 5)) + "    " * 5
    ladder = "if a:\n    pass\n" + "elif b:\n    pass\n" * 5
    cases = {
        "long.py": (f"def long():\n{long_body}", ["1: long has 41 lines"]),
        "docstring.py": (f'def f():\n    """{long_body}"""\n    return 1\n', []),
        "deep.py": (deep + "pass\n", ["1: deep is nested 4 deep"]),
        "ladder.py": (ladder, []),
        "kernel.py": ("# sizes: kernel, calls cost time\n" + deep + "pass\n", []),
        "unexplained.py": ("# sizes: kernel,\n" + deep + "pass\n", ["2: deep is nested"]),
        "file.py": ("x = 1\n" * 401, ["1: the file has 401 lines, at most 400"]),
        "excused.py": ("# sizes: one long table\n" + "x = 1\n" * 599, []),
        "too_much.py": ("# sizes: one long table\n" + "x = 1\n" * 600, ["at most 600"]),
    }
    for name, (text, expected) in cases.items():
        path = tmp_path / name
        path.write_text(text)
        findings = check_file(path)
        assert len(findings) == len(expected), (name, findings)
        assert all(want in got for want, got in zip(expected, findings, strict=True))


def least_seconds(codes: list[str], rounds: int) -> list[float]:
    """Time statements in fresh interpreters, A B C A B C ..., and give the least of each."""
    template = "import time; t = time.perf_counter()\n{}\nprint('seconds', time.perf_counter() - t)"
    times: list[list[float]] = [[] for _ in codes]
    for _ in range(rounds):
        for code, found in zip(codes, times, strict=True):
            found.append(float(run_python(template.format(code)).rpartition("seconds ")[2]))
    return [min(found) for found in times]


@pytest.mark.budget
def test_start_up_is_within_budget() -> None:
    pytest.importorskip("torch")
    show_help = (
        "import sys; sys.argv = ['byways', '--help']\n"
        "from byways.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code"
    )
    torch, ours, command = least_seconds(["import torch", "import byways", show_help], rounds=5)
    assert ours <= 0.05 * torch, f"import byways: {ours / torch:.3f} of import torch"
    assert command <= 0.15 * torch, f"byways --help: {command / torch:.3f} of import torch"
