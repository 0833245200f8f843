"""Frozen networks, domains and the small things that every pass shares."""

from __future__ import annotations

from byways.core.activations import (
    PerUnit,
    PiecewiseLinear,
    absolute,
    clamp,
    hardtanh,
    identity,
    leaky_relu,
    relu,
)
from byways.core.affine import Affine
from byways.core.bounds import interval_bounds
from byways.core.chain import Layer, LayerChain
from byways.core.domains import Box, Polytope
from byways.core.maps import ConvMap, DenseMap, LinearMap, SparseMap
from byways.core.progress import ProgressEvent

__all__ = [
    "Affine",
    "Box",
    "ConvMap",
    "DenseMap",
    "Layer",
    "LayerChain",
    "LinearMap",
    "PerUnit",
    "PiecewiseLinear",
    "Polytope",
    "ProgressEvent",
    "SparseMap",
    "absolute",
    "clamp",
    "hardtanh",
    "identity",
    "interval_bounds",
    "leaky_relu",
    "relu",
]
