"""
Where the work of an enumeration sits
=====================================

The published parallel algorithm (Drammis et al., 2024) hands out one task for each sign vector of
the first layer. This script repeats its experiments at the size of a moment: is the time
proportional to the number of regions, which first-layer cells hold the most of them, how large is
the largest task, and what would that mean for a thousand workers? Set ``WIDTHS`` to
``range(6, 13)`` for the longer run.
"""

# %%
# Time against regions
# --------------------
# Networks of 784 inputs and two hidden layers of equal width, with PyTorch's default scale of
# weights. Each is counted with a run directory, which keeps the time of every task.

from __future__ import annotations

import tempfile

import matplotlib.pyplot as plt
import numpy as np

import byways as bw
from byways.runs import RunDirectory
from byways.runs._simulation import TimedTask, merged, recorded, simulate

WIDTHS = range(6, 11)


def network(n: int) -> bw.LayerChain:
    """Draw a network as a fresh ``torch.nn.Linear`` is drawn."""
    rng = np.random.default_rng(n)

    def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        bound = inputs**-0.5
        weight = rng.uniform(-bound, bound, (outputs, inputs))
        return weight, rng.uniform(-bound, bound, outputs)

    return bw.LayerChain.from_arrays([layer(784, n), layer(n, n), layer(n, 1)])


bw.regions.count_regions(network(4), (0, 1))  # whatever is compiled on the way
totals, seconds = [], []
for n in WIDTHS:
    count = bw.regions.count_regions(network(n), (0, 1))
    totals.append(count.total)
    seconds.append(count.seconds)
    print(f"784-{n}-{n}: {count.total:>9,} regions in {count.seconds:.2f} s")

slope = np.dot(totals, seconds) / np.dot(totals, totals)
residual = np.array(seconds) - slope * np.array(totals)
r2 = 1 - (residual**2).sum() / ((seconds - np.mean(seconds)) ** 2).sum()
print(f"time is {1e6 * slope:.2f} microseconds a region, R^2 = {r2:.4f}")

# %%
# Units that are on, and what a first-layer cell holds
# ----------------------------------------------------
# In a cell of the first layer with k units on, the second layer's units are hyperplanes in k
# dimensions. So cells with more units on hold more regions, and most of the work.

n = 9
report = bw.regions.enumerate_regions(network(n), (0, 1), keep=("signs",))
first, held = np.unique(report.signs[:, :n], axis=0, return_counts=True)
regions_of_cell = held
on = first.sum(axis=1)
correlation = np.corrcoef(on, np.log(held))[0, 1]
largest, fitted = held.max() / held.sum(), np.exp(-0.6445 * n)
print(f"{len(first)} of {2**n} cells; correlation of units on and log regions: {correlation:.3f}")
print(f"largest task {largest:.2e} of the work; exp(-0.6445 n) = {fitted:.2e}")
print(f"regions of a task: mean {held.mean():.0f}, standard deviation {held.std():.0f}")

# %%
# A thousand workers
# ------------------
# Three ways to share out the same work: the first-layer cells dealt out beforehand, the same cells
# handed to whoever is free, and tasks that split themselves, as ``workers=`` does. The first two
# take the time of a cell as proportional to its regions, the third has recorded times. Shares of
# tasks that split themselves have a fixed size, some hundredths of a second, and a task is known
# only when another has left it: a question of seconds feeds a few dozen workers, one of hours feeds
# them all.

with tempfile.TemporaryDirectory() as folder:
    count = bw.regions.count_regions(network(n + 2), (0, 1), run_dir=f"{folder}/run")
    with RunDirectory.open(f"{folder}/run") as run:
        tasks = recorded(run.results())
work = sum(task.seconds for task in tasks)
report = bw.regions.enumerate_regions(network(n + 2), (0, 1), keep=("signs",))
held = np.unique(report.signs[:, : n + 2], axis=0, return_counts=True)[1]
cells = [TimedTask(str(i), work * size / held.sum()) for i, size in enumerate(held)]

workers = np.unique(np.geomspace(1, 1000, 40).round().astype(int)).tolist()
speed_ups = {
    "dealt out beforehand": [simulate(cells, w, static=True).speed_up for w in workers],
    "taken when free": [simulate(cells, w).speed_up for w in workers],
    "splitting themselves": [simulate(tasks, w).speed_up for w in workers],
}
share = max(task.seconds for task in tasks) / work
print(f"{len(tasks)} tasks that split themselves; the largest is 1/{1 / share:.0f} of the work")
assert np.isclose(work, sum(task.seconds for task in merged(tasks)))
for name, values in speed_ups.items():
    picked = {w: f"{values[workers.index(w)]:.1f}" for w in (2, workers[20], workers[-1])}
    print(f"{name}: {picked}")

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
axes[0].plot(totals, seconds, "o")
axes[0].plot([0, totals[-1]], [0, slope * totals[-1]], "-", color="0.6", zorder=0)
axes[0].set(xlabel="regions", ylabel="seconds", title="Time is linear in regions")
axes[1].plot(on, regions_of_cell, ".", alpha=0.4)
axes[1].set(xlabel="first-layer units on", ylabel="regions in the cell", yscale="log")
axes[1].set_title("Units on drive the work")
for name, values in speed_ups.items():
    axes[2].loglog(workers, values, label=name)
axes[2].plot(workers, workers, ":", color="0.6")
axes[2].set(xlabel="workers", ylabel="speed-up (simulated)", title="Sharing out")
axes[2].legend(fontsize=8)
plt.show()
