from __future__ import annotations

import itertools
import time

import pytest

from byways.sparse_inference._roofline import load_rate, multiply_add_rate


def test_a_core_does_more_than_it_loads_and_a_cache_gives_more_than_memory() -> None:
    # A core with vectors of 32 bytes does at least 8 multiply-adds in the time of two loads.
    assert multiply_add_rate() > 1e9
    assert load_rate(16 << 10) > load_rate(64 << 20)


def test_rates_are_work_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: float(next(ticks)))
    # Each run takes a second by this clock: 20,000 edges, or one a vector where there are more.
    assert multiply_add_rate() in (20_000 * 8 * 48, 20_000 * 6 * 16)
    assert load_rate(1 << 20) in (20_000 * 8 * 64, 20_000 * 4 * 64)
    assert load_rate(64 << 20) == 64 << 20
