"""
Ranks of a layer's map, and what the next layers make of its cells
==================================================================

On a cell of its first layers a network is an affine map to the next layer's inputs. Where that map
has rank r, later units are hyperplanes in r dimensions, however many inputs there are: the fewer
dimensions are left, the fewer ways there are to cut. This script lists all regions of a network of
784 inputs, and sets the rank of each cell's map beside the number of regions inside the cell. Run
it with ``--full`` for a wider network.
"""

# %%
# Cells, ranks, regions
# ---------------------
# The regions of a report are those of the last hidden layer. Cells of an earlier layer are what
# their sign vectors have in common, and any region of a cell tells its map.

from __future__ import annotations

import sys
from itertools import pairwise
from math import comb

import matplotlib.pyplot as plt
import numpy as np

import byways as bw

WIDTHS = (784, 9, 8, 7, 1) if "--full" in sys.argv else (784, 7, 6, 5, 1)
rng = np.random.default_rng(7)


def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a layer as a fresh ``torch.nn.Linear`` is drawn."""
    bound = inputs**-0.5
    return rng.uniform(-bound, bound, (outputs, inputs)), rng.uniform(-bound, bound, outputs)


def cells(report: bw.regions.RegionReport, depth: int) -> tuple[np.ndarray, ...]:
    """Give for each cell of the first layers its units on, its map's rank, regions inside."""
    units = sum(WIDTHS[1 : depth + 2])
    _, first, inside = np.unique(
        report.signs[:, :units], axis=0, return_index=True, return_counts=True
    )
    last = report.signs[first, units - WIDTHS[depth + 1] : units]
    return last.sum(axis=1), report.ranks(depth)[first], inside


chain = bw.LayerChain.from_arrays([layer(*sizes) for sizes in pairwise(WIDTHS)])
report = bw.regions.enumerate_regions(chain, (0, 1), keep=("signs",))
print(
    "-".join(map(str, WIDTHS)), "has", " -> ".join(f"{c:,}" for c in report.layer_counts), "cells"
)

# %%
# The first layer's rows are independent, so the rank of its map is the number of units that are on.
# In the second layer it is at most the smaller of both layers' numbers.

on, ranks, inside = cells(report, 0)
assert (ranks == on).all()

# %%
# A cell whose map has rank r is cut by the m units of one more layer into at most the sum of
# C(m, i), i up to r, parts. Behind the second layer there is one more: the dashed line bounds it.

fig, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained", sharey=True)
for depth, ax in enumerate(axes):
    _, ranks, inside = cells(report, depth)
    levels = np.unique(ranks)
    means = [inside[ranks == r].mean() for r in levels]
    for r, mean in zip(levels, means, strict=True):
        print(
            f"layer {depth + 1}, rank {r}: {(ranks == r).sum():>6,} cells, {mean:8.2f} regions each"
        )
    ax.plot(ranks + rng.uniform(-0.15, 0.15, len(ranks)), inside, ".", alpha=0.35)
    ax.plot(levels, means, "k_", markersize=18, label="mean")
    ax.set(xlabel=f"rank of the map to layer {depth + 1}", yscale="log", xticks=levels)
    ax.set_title(f"{len(ranks):,} cells of layer {depth + 1}")
next_width = WIDTHS[3]
bound = [sum(comb(next_width, i) for i in range(r + 1)) for r in levels]
assert all((inside[ranks == r] <= most).all() for r, most in zip(levels, bound, strict=True))
axes[1].plot(levels, bound, "--", color="0.5", label="bound")
axes[0].set_ylabel("regions inside the cell")
axes[1].legend(fontsize=8)
plt.show()
