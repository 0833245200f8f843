"""The ceilings of this core: multiply-adds in registers, and loads by the executor's own loop.

With several destinations a source is loaded once for as many multiply-adds, and arithmetic is the
limit. With one destination each multiply-add loads a vector, and the limit is the level of the
memory where the values are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, no_type_check

import numpy as np

from byways.core.compiled import entry
from byways.core.plotting import INK, axes
from byways.sparse_inference._lanes import filled, load, multiply_add, store
from byways.sparse_inference._vector import LINE_BYTES, VECTOR_BYTES, accumulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes

__all__ = ["Ceilings", "load_rate", "multiply_add_rate", "plot_roofline"]

_MOST, _REST = 8, 4  # sums: enough for two multipliers of six cycles, and they fit the registers
_ALONE = 8  # vectors a neuron when loads are measured
_EDGES, _ROUNDS = 20_000, 50
_LANES = VECTOR_BYTES // 4
_MEMORIES = (("24 KB", 24 << 10), ("384 KB", 384 << 10), ("64 MB", 64 << 20))
_SPAN = (0.2, 8.0)  # operations a byte that a picture shows


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What no float32 network exceeds on one core.

    Attributes:
        peak: Operations a second; a multiply-add is two.
        loads: Bytes loaded a second, by where the values are.
    """

    peak: float
    loads: Mapping[str, float]

    @classmethod
    def measured(cls) -> Ceilings:
        """Measure those of this core, in about a second."""
        return cls(2 * multiply_add_rate(), {name: load_rate(size) for name, size in _MEMORIES})

    def __str__(self) -> str:
        rates = ", ".join(f"{rate / 1e9:.0f} GB/s from {name}" for name, rate in self.loads.items())
        return f"peak {self.peak / 1e9:.0f} GFLOP/s; loads: {rates}"


def plot_roofline(
    points: Mapping[str, tuple[float, float]], ceilings: Ceilings, ax: Axes | None = None
) -> Axes:
    """Draw networks under the ceilings of a core.

    Args:
        points: Name to operations for each byte loaded (``Explanation.intensity``) and operations
            a second.
        ceilings: Those of the core that ran them.
        ax: Where to draw; new axes if None.

    Returns:
        The axes.
    """
    ax, peak = axes(ax), ceilings.peak / 1e9
    for name, rate in ceilings.loads.items():
        reach = np.array([_SPAN[0], min(ceilings.peak / rate, _SPAN[1])])
        ax.plot(reach, reach * rate / 1e9, color=INK, alpha=0.4, lw=1)
        ax.annotate(f" values in {name}", (reach[0], reach[0] * rate / 1e9), fontsize=7,
                    va="bottom", rotation=45, rotation_mode="anchor")  # fmt: skip
    ax.axhline(peak, color=INK, alpha=0.6, lw=1)
    ax.annotate("multiply-adds", (_SPAN[0], peak), fontsize=7, va="bottom")
    for k, (name, (intensity, reached)) in enumerate(points.items()):
        ax.plot(intensity, reached / 1e9, "osD^v<>"[k % 7], ms=5, label=name)
    ax.set(xscale="log", yscale="log", xlim=_SPAN, ylim=(min(5.0, 0.1 * peak), 1.6 * peak))
    ax.set(xlabel="operations a byte loaded", ylabel="GFLOP/s")
    ax.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["¼", "½", "1", "2", "4", "8"])
    ticks = [tick for tick in (10, 30, 100, 300) if tick < 1.6 * peak]
    ax.set_yticks(ticks, list(map(str, ticks)))
    ax.minorticks_off()
    ax.legend(fontsize=7, loc="lower right")
    return ax


def multiply_add_rate() -> float:
    """Measure the multiply-adds of float32 numbers a second that one core can do in registers."""
    values = np.ones((_MOST + _REST) * _LANES, np.float32)
    seconds = _least_time(_in_registers, values, np.float32(0.5), _EDGES)
    return _EDGES * (_MOST + _REST) * _LANES / seconds


def load_rate(size: int) -> float:
    """Measure the bytes a second that one core loads while it sweeps over ``size`` bytes."""
    width = _ALONE * _LANES
    count = max(size // (4 * width), 1)
    edges = max(count, _EDGES)
    values = np.ones((count + 2) * width + LINE_BYTES // 4, np.float32)  # zeros share one page
    values = values[-values.ctypes.data % LINE_BYTES // 4 :]
    sources = ((np.arange(edges) % count + 2) * width).astype(np.uint32)
    weights, plain = np.zeros(edges, np.float32), np.zeros(1, np.float32)
    places = np.arange(2) * width
    seconds = _least_time(_alone, values, places, sources, weights, plain, edges)
    return edges * _ALONE * VECTOR_BYTES / seconds


@entry
@no_type_check  # numba hands over the typing context
def _in_registers(values: Any, factor: Any, times: int) -> None:
    """Let sums that depend on nothing but themselves grow to twice the number they begin with.

    They are two lots, for LLVM splits only vectors of a power of two into registers.
    """
    most, rest = load(values, 0, _MOST), load(values, 0, _REST)
    one, as_many = filled(values[0], most), filled(values[0], rest)
    for _ in range(times):
        most = multiply_add(most, factor, one)
        rest = multiply_add(rest, factor, as_many)
    store(values, 0, most)
    store(values, _MOST * _LANES, rest)


@entry
def _alone(values: Any, places: Any, sources: Any, weights: Any, plain: Any, edges: int) -> None:
    accumulate(  # type: ignore[call-arg]  # as above
        values, places, 0, sources, 0, edges, weights, 0, plain, plain, plain, 0, 0, 1, _ALONE
    )


def _least_time(kernel: Callable[..., Any], *arguments: Any) -> float:
    """Give the least seconds of a call."""
    kernel(*arguments)
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.thread_time()
        kernel(*arguments)
        best = min(best, time.thread_time() - start)
    return best
