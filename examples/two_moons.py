"""
Read a small network whole
==========================

A network with ReLU units is affine on each of its activation regions. This one has two inputs, so
its regions can be listed, drawn and asked questions in a moment. It comes with the package and was
trained by ``train_moons.py``.
"""

# %%
# List the regions
# ----------------
# The report says how many there are after each layer, and whether any decision was too close for
# float64. A search that was cut short would say so.

from __future__ import annotations

import numpy as np

import byways as bw
from byways.networks import example

moons = example("moons")
report = bw.regions.enumerate_regions(moons.chain, moons.box)
print(report)

# %%
# Look at them
# ------------
# Borders are darkest where a unit of the first layer bends. The thick line is where the predicted
# class changes; it is a list of exact segments, not a contour of samples.

bw.regions.plot_slice(
    moons.chain, moons.box, points=moons.points, labels=moons.labels, classes=moons.classes
)

# %%
segments = report.decision_boundary()
length = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1).sum()
print(f"the decision boundary has {len(segments)} segments, {length:.3f} units long in all")

# %%
# Ask them
# --------
# The regions fill the box, the network's extremes over the box are exact, and so is the largest
# factor by which it can stretch a distance.

area = sum(report.volume(k) for k in range(len(report)))
print(f"areas add up to {area:.12f}; the box has {np.prod(moons.box.upper - moons.box.lower)}")

value, place = report.maximize(1)
print(f"output 1 is at most {value:.4f}, at {place.round(4)}")
print(f"the network stretches distances by at most {report.lipschitz():.4f}")

# %%
# Each region knows its neighbours. In the plane a region has fewer than four of them on average,
# however many units there are.

neighbours = report.adjacency().sum(axis=1)
print(f"{neighbours.mean():.2f} neighbours on average, {neighbours.max()} at most")

# %%
# The region of a point takes one forward pass, and within it the network *is* its affine map.

point = moons.points[0]
k = int(report.locate(point))
print(report[k])
print(moons.chain(point), report.affine(k)(point))
