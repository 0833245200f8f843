"""The files of the Sparse Deep Neural Network Graph Challenge."""

from __future__ import annotations

import gzip
import re
import zlib
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
        ConversionError: If there is no such file, a layer is missing, layers have different numbers
            of neurons, or a line is malformed; the message names file and line.

    References:
        Kepner et al., Sparse Deep Neural Network Graph Challenge, 2019.
    """
    from pathlib import Path

    from scipy import sparse

    folder = Path(directory)
    found, sizes = {}, set()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match:
            found[int(match[2])] = path
            sizes.add(int(match[1]))
    if not found:
        raise ConversionError(
            f"{str(folder)!r} holds no layer of the Graph Challenge; files are called "
            "n1024-l1.tsv, n1024-l2.tsv, ..."
        )
    if len(sizes) > 1:
        raise ConversionError(
            f"{str(folder)!r} holds layers of several networks, of "
            f"{' and '.join(map(str, sorted(sizes)))} neurons; give each a folder of its own"
        )
    count = len(found) if layers is None else layers
    missing = [k for k in range(1, count + 1) if k not in found]
    if missing or count < 1:
        raise ConversionError(
            f"{str(folder)!r} lacks layer {missing[0] if missing else 1} of the {count} asked for"
        )
    (neurons,) = sizes
    matrices = []
    for k in range(1, count + 1):
        rows, columns, values = _read(found[k], neurons)
        matrices.append(sparse.coo_array((values, (rows, columns)), shape=(neurons, neurons)))
    constant = challenge_bias(neurons) if bias is None else bias
    biases = [np.full(neurons, constant)] * count
    return EdgeGraph.from_layers(matrices, biases, clamp(0.0, 32.0), layout="in_out")


def _read(
    path: Path, neurons: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    lines = _content(path).decode("utf-8", "replace").splitlines()
    skip = 0
    while skip < len(lines) and lines[skip].startswith("%"):
        skip += 1
    if skip:
        skip += 1  # the line of sizes below a MatrixMarket header
    entries = []
    for number, line in enumerate(lines[skip:], start=skip + 1):
        try:
            row, column, value = map(float, line.split())
        except ValueError as error:
            raise ConversionError(
                f"{str(path)!r}, line {number}: {line[:60]!r} is not a row, a column and a value"
            ) from error
        whole = row.is_integer() and column.is_integer()
        inside = 1 <= row <= neurons and 1 <= column <= neurons
        if not (whole and inside and np.isfinite(value)):
            raise ConversionError(
                f"{str(path)!r}, line {number}: {line[:60]!r}; rows and columns count from 1 to "
                f"{neurons}, values are finite"
            )
        entries.append((row - 1, column - 1, value))
    table = np.array(entries, dtype=np.float64).reshape(-1, 3)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ConversionError(f"{str(path)!r} cannot be decompressed: {error}") from error
