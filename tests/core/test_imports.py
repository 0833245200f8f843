"""What importing loads, seen from a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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


_DISPATCHERS = """
import gc, importlib, json, pkgutil, sys
from numba.core.dispatcher import Dispatcher
from numba.core.event import install_recorder
with install_recorder("numba:compile") as compiled:
    import byways
    for module in pkgutil.walk_packages(byways.__path__, "byways."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
ours = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
ours = [one for one in ours if one.py_func.__module__.startswith("byways.")]
told = [
    [one.py_func.__module__, one.py_func.__name__, len(one.signatures), dict(one.targetoptions)]
    for one in ours
]
print(json.dumps([len(compiled.buffer), told], default=str))
"""


def test_importing_any_module_compiles_nothing(tmp_path: Path) -> None:
    # The cache is empty, so that nothing compiled earlier can hide a compilation.
    done = subprocess.run(
        [sys.executable, "-c", _DISPATCHERS],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
    )
    events, kernels = json.loads(done.stdout)
    modules = {module for module, *_ in kernels}
    assert {"byways.parallel._loops", "byways.regions._boundary"} <= modules
    assert len(kernels) > 50
    assert events == 0
    assert [kernel for kernel in kernels if kernel[2]] == []
    assert list(tmp_path.rglob("*.nb*")) == []
    # Threads of numba beside those of torch would ask for more cores than there are.
    assert [kernel for kernel in kernels if kernel[3].get("parallel")] == []
