"""
Where the work of an enumeration sits
=====================================

The published parallel algorithm (Drammis et al., 2024) hands out one task for each sign vector of
the first layer. This script repeats its experiments at the size of a moment: is the time
proportional to the number of regions, which first-layer cells hold the most of them, how unequal
are the tasks and how large is the largest, and what do more hidden layers change? Run it with
``--full`` for wider networks.
"""

# %%
# Time against regions
# --------------------
# Networks of 784 inputs and two hidden layers of equal width, with PyTorch's default scale of
# weights, each counted three times in this process; the least processor time counts.

from __future__ import annotations

import sys
import time
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

import byways as bw
from byways.regions._question import Question

threadpool_limits(1)  # as in a worker: other threads of linear algebra would count while they wait
FULL = "--full" in sys.argv
WIDTHS = range(6, 14 if FULL else 12)
CELL_WIDTHS = range(4, 13 if FULL else 10)
DEPTHS = range(1, 6 if FULL else 5)
DEEP_WIDTH = 7
DRAWS = 5  # networks of each width


def network(*hidden: int, draw: int = 0) -> bw.LayerChain:
    """Draw a network as fresh ``torch.nn.Linear`` layers are drawn."""
    rng = np.random.default_rng(hidden[0] + 100 * draw)

    def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        bound = inputs**-0.5
        weight = rng.uniform(-bound, bound, (outputs, inputs))
        return weight, rng.uniform(-bound, bound, outputs)

    return bw.LayerChain.from_arrays([layer(*sizes) for sizes in pairwise((784, *hidden, 1))])


def timed(chain: bw.LayerChain) -> tuple[bw.regions.RegionCount, float]:
    """Count regions three times; give the count and the least processor time."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        count = bw.regions.count_regions(chain, (0, 1))
        seconds.append(time.process_time() - start)
    return count, min(seconds)


bw.regions.count_regions(network(4, 4), (0, 1))  # whatever is compiled on the way
totals, seconds = [], []
for n in WIDTHS:
    count, took = timed(network(n, n))
    totals.append(count.total)
    seconds.append(took)
    print(f"784-{n}-{n}: {count.total:>11,} regions in {took:.3f} s")

slope = np.dot(totals, seconds) / np.dot(totals, totals)
residual = np.array(seconds) - slope * np.array(totals)
r2 = 1 - (residual**2).sum() / ((seconds - np.mean(seconds)) ** 2).sum()
print(f"time is {1e6 * slope:.2f} microseconds a region, R^2 = {r2:.4f}")

# %%
# First-layer cells as tasks
# --------------------------
# In a cell of the first layer with k units on, the second layer's units are hyperplanes in k
# dimensions. So cells with more units on hold more regions, and most of the work. Every cell is
# worked off by itself, and its time noted. How closely the two go together is the network's own
# affair, so it is looked at in five networks of each width.


def cells(n: int, draw: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give for each first-layer cell of a 784-n-n network: units on, regions, seconds."""
    options = {"method": "auto", "solver": "auto", "exact": "float", "tolerance": 1e-9}
    question = Question.ask(network(n, n, draw=draw), (0, 1), keep=None, **options)
    problem, rows = question.problem(), []
    first = network(n, draw=draw)  # no units behind them: the same first layer
    vectors = bw.regions.enumerate_regions(first, (0, 1), keep=("signs",)).signs
    for signs in vectors:
        best = np.inf
        for _ in range(2):
            start = time.process_time()
            walk, found = question.walk(problem, signs), 0
            while not walk.finished:
                found += walk.advance(4096, 10**6).leaves
            best = min(best, time.process_time() - start)
        rows.append((signs.sum(), found, best))
    on, regions, times = np.array(rows).T
    return on, regions, times


spread, largest, correlations = [], [], []
for n in CELL_WIDTHS:
    together = []
    for draw in reversed(range(DRAWS)):  # what is drawn below is of the first
        on, regions, times = cells(n, draw)
        together.append(np.corrcoef(on, np.log(regions))[0, 1])
    spread.append((times.std() / times.mean(), regions.std() / regions.mean()))
    largest.append((times.max() / times.sum(), regions.max() / regions.sum()))
    correlations.append(together)
    print(
        f"n = {n}: {len(on)} of {2**n} cells; correlation of units on and log regions "
        f"{np.median(together):.3f} ({min(together):.3f} to {max(together):.3f}); deviation / mean "
        f"of times {spread[-1][0]:.2f}, of regions {spread[-1][1]:.2f}; largest task "
        f"{largest[-1][0]:.1e} of the time, {largest[-1][1]:.1e} of the regions; "
        f"exp(-0.6445 n) = {np.exp(-0.6445 * n):.1e}"
    )

# %%
# More hidden layers
# ------------------
# Each layer cuts the cells of those before it once more. Widths are equal, so deeper networks have
# more units; ``depth_and_slopes.py`` compares depths at a fixed number of them.

layers, rates = [], []
for depth in DEPTHS:
    count, took = timed(network(*[DEEP_WIDTH] * depth))
    layers.append(count.layer_counts)
    rates.append(took / count.total)
    shown = " -> ".join(f"{c:,}" for c in count.layer_counts)
    print(f"{depth} hidden layers of {DEEP_WIDTH}: {shown} cells, {1e6 * rates[-1]:.2f} us each")

# %%
fig, axes = plt.subplots(2, 3, figsize=(11, 6.6), layout="constrained")
top, bottom = axes
thousands = np.array(totals) / 1000
top[0].plot(thousands, seconds, "o")
top[0].plot([0, thousands[-1]], [0, slope * totals[-1]], "-", color="0.6", zorder=0)
top[0].set(
    xlabel="thousands of regions",
    ylabel="seconds",
    title=f"Time is linear in regions: R² = {r2:.4f}",
)
top[1].plot(on, regions, ".", alpha=0.4)
top[1].set(xlabel="first-layer units on", ylabel="regions in the cell", yscale="log")
top[1].set_title(f"Units on drive the work: r = {correlations[-1][-1]:.3f}")
top[2].hist(1e3 * times, bins=40)
top[2].set(xlabel="milliseconds of a cell", ylabel="cells", title=f"Task times, n = {n}")
bottom[0].plot(CELL_WIDTHS, [s[0] for s in spread], "o-", label="time")
bottom[0].plot(CELL_WIDTHS, [s[1] for s in spread], "s-", label="regions")
bottom[0].set(xlabel="width n", ylabel="deviation / mean", ylim=(0, None))
bottom[0].set_title("Tasks are unequal")
bottom[1].plot(CELL_WIDTHS, [s[0] for s in largest], "o-", label="time")
bottom[1].plot(CELL_WIDTHS, [s[1] for s in largest], "s-", label="regions")
bottom[1].plot(CELL_WIDTHS, np.exp(-0.6445 * np.array(CELL_WIDTHS)), "--", label="exp(-0.6445 n)")
bottom[1].set(xlabel="width n", ylabel="share", yscale="log", title="The largest task")
for counts in layers:
    bottom[2].plot(range(1, len(counts) + 1), counts, "o-")
bottom[2].set(xlabel="hidden layer", ylabel="cells", yscale="log", xticks=list(DEPTHS))
bottom[2].set_title(f"784 inputs, layers of {DEEP_WIDTH}")
for ax in bottom[:2]:
    ax.legend(fontsize=8)
plt.show()
