"""The files of the Sparse Deep Neural Network Graph Challenge."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import numpy as np

from byways.core.activations import clamp
from byways.core.errors import ConversionError
from byways.sparse_inference._generate import challenge_bias
from byways.sparse_inference._graph import EdgeGraph

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_graph_challenge"]

_NAME = re.compile(r"n(\d+)-l(\d+)\.(tsv|mtx|mmio)(\.gz)?")


def read_graph_challenge(
    directory: str | Path, *, layers: int | None = None, bias: float | None = None
) -> EdgeGraph:
    """Read a network of the Graph Challenge.

    The folder holds a file a layer, ``n1024-l1.tsv``, ``n1024-l2.tsv`` and so on: lines of row,
    column and value, separated by tabs or blanks and counted from 1, an edge from neuron row to
    neuron column. Compressed files (``.gz``) and MatrixMarket headers are understood.

    Args:
        directory: The folder.
        layers: Read the first so many; all that are there if None.
        bias: Of every neuron; the challenge's for this number of neurons if None.

    Returns:
        The graph, each layer ending in ``min(max(z, 0), 32)``.

    Raises:
        ConversionError: If there is no such file, a layer is missing, or a line is malformed; the
            message names file and line.

    References:
        Kepner et al., Sparse Deep Neural Network Graph Challenge, 2019.
    """
    from pathlib import Path

    from scipy import sparse

    folder = Path(directory)
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match:
            found[int(match[2])] = (int(match[1]), path)
    if not found:
        raise ConversionError(
            f"{str(folder)!r} holds no layer of the Graph Challenge; files are called "
            "n1024-l1.tsv, n1024-l2.tsv, ..."
        )
    count = len(found) if layers is None else layers
    missing = [k for k in range(1, count + 1) if k not in found]
    if missing or count < 1:
        raise ConversionError(
            f"{str(folder)!r} lacks layer {missing[0] if missing else 1} of the {count} asked for"
        )
    neurons = found[1][0]
    matrices = []
    for k in range(1, count + 1):
        rows, columns, values = _read(found[k][1], neurons)
        matrices.append(sparse.coo_array((values, (rows, columns)), shape=(neurons, neurons)))
    constant = challenge_bias(neurons) if bias is None else bias
    biases = [np.full(neurons, constant)] * count
    return EdgeGraph.from_layers(matrices, biases, clamp(0.0, 32.0), layout="in_out")


def _read(
    path: Path, neurons: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    lines = text.decode("utf-8", "replace").splitlines()
    skip = 0
    while skip < len(lines) and lines[skip].startswith("%"):
        skip += 1
    if skip:
        skip += 1  # the line of sizes below a MatrixMarket header
    entries = []
    for number, line in enumerate(lines[skip:], start=skip + 1):
        fields = line.split()
        try:
            row, column, value = int(float(fields[0])), int(float(fields[1])), float(fields[2])
        except (IndexError, ValueError) as error:
            raise ConversionError(
                f"{str(path)!r}, line {number}: {line[:60]!r} is not a row, a column and a value"
            ) from error
        if not (1 <= row <= neurons and 1 <= column <= neurons and np.isfinite(value)):
            raise ConversionError(
                f"{str(path)!r}, line {number}: {line[:60]!r}; rows and columns count from 1 to "
                f"{neurons}, values are finite"
            )
        entries.append((row - 1, column - 1, value))
    table = np.array(entries, dtype=np.float64).reshape(-1, 3)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]
