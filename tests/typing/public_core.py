"""What a type-checker must find in the public names of the core. Nobody runs this file."""

from __future__ import annotations

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import byways as bw
from byways.core import Affine, Box, LayerChain, PiecewiseLinear, interval_bounds
from byways.core.activations import leaky_relu
from byways.core.optional import available
from byways.core.progress import ProgressEvent, as_progress
from byways.core.seeding import as_generator

Array = NDArray[np.float64]

chain = bw.LayerChain.from_arrays([([[1.0]], [0.0]), ([[1.0]], [0.0])], activation=leaky_relu(0.1))
assert_type(chain, LayerChain)
assert_type(chain([0.5]), Array)
assert_type(chain.segments([0.5]), NDArray[np.int8])
assert_type(chain.pre_activations([0.5]), list[Array])
assert_type(chain.local_map([1]), Affine)
assert_type(chain.widths, tuple[int, ...])
assert_type(chain.units, int)
assert_type(chain.digest(), str)
assert_type(LayerChain.load("network.npz"), LayerChain)

box = bw.Box([0.0], [1.0])
assert_type(box, Box)
assert_type(bw.Box.around([0.5], 0.1, clip=(0, 1)), Box)
assert_type(box.contains([[0.5]]), NDArray[np.bool_])
assert_type(interval_bounds(chain, box), list[tuple[Array, Array]])
assert_type(leaky_relu(0.2), PiecewiseLinear)
assert_type(leaky_relu(0.2).piece(1), tuple[float, float])

assert_type(available("torch"), bool)
assert_type(as_generator(None), np.random.Generator)


def listen(event: ProgressEvent) -> None:
    assert_type(event.fraction, float | None)


as_progress(listen)
as_progress(True)
