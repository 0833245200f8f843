"""
Sixteen units, one layer or four
================================

What does depth buy at a fixed number of units? Networks with 16 hidden units learn scikit-learn's
handwritten digits from their first three principal components; their regions in the data's box are
counted exactly. The same weights are then read with LeakyReLU in place of ReLU.
"""

# %%
# Train, then count

from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import byways as bw
from byways.core.activations import leaky_relu, relu

SHAPES = ((16,), (8, 8), (6, 5, 5), (4, 4, 4, 4))
SEEDS = range(3)

digits = load_digits()
points = PCA(3, random_state=0).fit_transform(digits.data)
points /= np.abs(points).max()
train, test = np.arange(1200), np.arange(1200, len(points))
box = bw.Box(points.min(axis=0), points.max(axis=0))

rows = []
for shape in SHAPES:
    for seed in SEEDS:
        model = MLPClassifier(shape, max_iter=60, learning_rate_init=0.02, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a short training is enough here
            model.fit(points[train], digits.target[train])
        pairs = [(w.T, b) for w, b in zip(model.coefs_, model.intercepts_, strict=True)]
        counts = [
            bw.regions.count_regions(bw.LayerChain.from_arrays(pairs, activation=f), box).total
            for f in (relu, leaky_relu(0.25))
        ]
        rows.append((shape, model.score(points[test], digits.target[test]), *counts))

# %%
# Regions and accuracy
# --------------------
# In three dimensions 16 planes make at most 697 regions; deeper networks of as many units may make
# more or fewer, and how well they read digits is another matter.

for shape in SHAPES:
    part = np.array([row[1:] for row in rows if row[0] == shape])
    accuracy, with_relu, with_leaky = part.mean(axis=0)
    print(
        f"{'+'.join(map(str, shape)):>8}: accuracy {accuracy:.3f}, "
        f"{with_relu:.0f} regions, {with_leaky:.0f} with LeakyReLU"
    )

# %%
fig, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
for shape in SHAPES:
    part = np.array([row[1:] for row in rows if row[0] == shape])
    ax.plot(part[:, 1], part[:, 0], "o", label="+".join(map(str, shape)))
ax.set(xlabel="regions", ylabel="test accuracy", title="16 hidden units")
ax.legend(fontsize=8)
plt.show()
