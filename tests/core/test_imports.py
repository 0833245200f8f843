"""What importing loads, seen from a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "scipy", "numba", "matplotlib", "pandas", "highspy", "tqdm", "onnx", "cyclopts")


def loaded_by(code: str) -> set[str]:
    """Run code in a fresh interpreter and give the names of its top-level modules."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by("import byways; byways.__version__; dir(byways)")
    assert "byways" in loaded
    assert not loaded & {*HEAVY, "numpy"}


@pytest.mark.parametrize(
    "code",
    [
        "import byways.core",
        "import byways.core.progress, byways.core.reports, byways.core.plotting",
        "import byways; byways.LayerChain.from_arrays([([[1.0]], [0.0])])([1.0])",
        "from byways.core.optional import available; available('torch'); available('matplotlib')",
    ],
)
def test_the_core_loads_numpy_only(code: str) -> None:
    loaded = loaded_by(code)
    assert "numpy" in loaded or "available" in code
    assert not loaded & set(HEAVY)


def test_a_dense_chain_on_disk_needs_no_scipy() -> None:
    code = (
        "import tempfile, pathlib, byways\n"
        "folder = tempfile.TemporaryDirectory()\n"
        "file = pathlib.Path(folder.name) / 'net.npz'\n"
        "byways.LayerChain.from_arrays([([[1.0]], [0.0])]).save(file)\n"
        "byways.LayerChain.load(file)\n"
        "folder.cleanup()"
    )
    assert not loaded_by(code) & set(HEAVY)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import byways

    with pytest.raises(
        AttributeError, match="module 'byways' has no attribute 'enumerate'; it has"
    ):
        byways.enumerate  # noqa: B018
