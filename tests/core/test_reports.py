from __future__ import annotations

import sys
from typing import Any

import pytest

from byways.core.errors import MissingDependencyError
from byways.core.reports import Report


class Squares(Report):
    def rows(self) -> list[dict[str, Any]]:
        return [{"n": n, "square": n * n} for n in range(3)]


def test_rows_become_a_frame() -> None:
    frame = Squares().to_frame()
    assert list(frame.columns) == ["n", "square"]
    assert frame["square"].tolist() == [0, 1, 4]


def test_without_pandas_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'byways\[frame\]'"):
        Squares().to_frame()


def test_a_report_must_have_rows() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Report()  # type: ignore[abstract]
