from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from byways.core.plotting import new_axes
from byways.sparse_inference import EdgeGraph, compile_network, radix_net
from byways.sparse_inference._roofline import (
    Ceilings,
    load_rate,
    multiply_add_rate,
    plot_roofline,
)


def test_a_core_does_more_than_it_loads_and_a_cache_gives_more_than_memory() -> None:
    # A core with vectors of 32 bytes does at least 8 multiply-adds in the time of two loads.
    assert multiply_add_rate() > 1e9
    assert load_rate(16 << 10) > load_rate(64 << 20)


def test_rates_are_work_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: float(next(ticks)))
    # Each run takes a second by this clock: 20,000 times twelve vectors, or as many edges, or more.
    assert multiply_add_rate() in (20_000 * 12 * 16, 20_000 * 12 * 8)
    assert load_rate(1 << 20) in (20_000 * 8 * 64, 20_000 * 4 * 64)
    assert load_rate(64 << 20) == 64 << 20


def test_a_point_lies_where_its_loop_is() -> None:
    alone = compile_network(EdgeGraph.from_layers([np.eye(3)])).explain()
    # An edge loads a vector, its index and its weight, and does two operations an input.
    assert alone.intensity == 2 * alone.tile / (4 * alone.tile + 8)
    grouped = compile_network(radix_net(128, 2, base=16), dtype="float64").explain()
    rows = grouped.edges * 4 // (grouped.stream_bytes - 8 * grouped.edges)
    assert rows in (4, 8)
    tile = grouped.tile
    assert grouped.intensity == pytest.approx(2 * tile * rows / (8 * tile + 8 * rows + 4))
    nothing = compile_network(EdgeGraph.from_layers([np.zeros((2, 3))])).explain()
    assert nothing.intensity == 0


def test_ceilings_bend_where_loads_meet_the_peak() -> None:
    ceilings = Ceilings(100e9, {"near": 200e9, "far": 10e9})
    ax = plot_roofline({"a": (1.0, 30e9)}, ceilings, new_axes())
    near, far, peak, point = (np.array(line.get_xydata()) for line in ax.lines)
    assert near[1].tolist() == [0.5, 100]
    assert far[1].tolist() == [8, 80]
    assert peak[:, 1].tolist() == [100, 100]
    assert point.tolist() == [[1, 30]]
    assert str(ceilings) == "peak 100 GFLOP/s; loads: 200 GB/s from near, 10 GB/s from far"
