from __future__ import annotations

import sys
from pathlib import Path

import pytest

from byways.core.errors import MissingDependencyError
from byways.core.optional import available, require


@pytest.fixture
def noisy_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that can be found and must not be imported."""
    (tmp_path / "byways_noisy.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "byways_noisy"


def test_available_looks_without_importing(noisy_module: str) -> None:
    assert available(noisy_module)
    assert noisy_module not in sys.modules
    assert not available("byways_of_nowhere")
    with pytest.raises(RuntimeError, match="imported"):
        require(noisy_module, extra="none", purpose="This test")


def test_require_gives_the_module() -> None:
    import json

    assert require("json", extra="none", purpose="This test") is json


@pytest.mark.parametrize(
    ("module", "project"), [("byways_of_nowhere", "byways_of_nowhere"), ("z3", "z3-solver")]
)
def test_require_says_who_needs_what_and_how_to_get_it(
    module: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError) as caught:
        require(module, extra="smt", purpose="The SMT layer")
    assert str(caught.value) == (
        f"The SMT layer needs the package {project}, which is not installed. "
        "Install it with: pip install 'byways[smt]'"
    )
