from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest

from byways.core.progress import ProgressEvent, as_progress


def event(done: float, total: float | None, found: int = 0, seconds: float = 1.0) -> ProgressEvent:
    return ProgressEvent("layer 2", done, total, found, seconds, "two workers")


def test_a_function_gets_the_very_events() -> None:
    heard: list[ProgressEvent] = []
    listen = as_progress(heard.append)
    sent = [event(0, 10), event(10, 10)]
    for item in sent:
        listen(item)
    assert [a is b for a, b in zip(heard, sent, strict=True)] == [True, True]


def test_false_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    as_progress(False)(event(5, 10))
    assert capsys.readouterr() == ("", "")


def test_true_draws_a_bar_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    listen = as_progress(True)
    listen(event(0, 8, found=10, seconds=2.0))
    for done, found in ((2, 1000), (8, 4000)):
        time.sleep(0.12)  # a bar is drawn at most ten times a second
        listen(event(done, 8, found=found, seconds=4.0))
    out, err = capsys.readouterr()
    assert out == ""
    assert "layer 2:   0%" in err
    assert "layer 2:  25%" in err
    assert "1,000 found, 250/s two workers" in err
    assert err.endswith("\r")  # the last event wipes it


def test_a_bar_without_a_total_does_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    listen = as_progress(True)
    for done in (0.0, 3.0, 2.0):
        listen(event(done, None, seconds=0.0))
    assert "layer 2" in capsys.readouterr().err


@pytest.mark.parametrize("value", [1, 0, None, "yes", np.True_])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r'"progress" was .*; it takes True'):
        as_progress(value)


@pytest.mark.parametrize(
    ("done", "total", "fraction", "left"),
    [(0, 10, 0.0, None), (5, 10, 0.5, 4.0), (10, 10, 1.0, 0.0), (12, 10, 1.0, 0.0)],
)
def test_fraction_and_time_left(
    done: float, total: float, fraction: float, left: float | None
) -> None:
    item = event(done, total, seconds=4.0)
    assert item.fraction == fraction
    assert item.seconds_left == left


def test_nothing_is_known_without_a_total() -> None:
    assert event(5, None).fraction is None
    assert event(5, None).seconds_left is None


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        event(1, 2).done = 2  # type: ignore[misc]
