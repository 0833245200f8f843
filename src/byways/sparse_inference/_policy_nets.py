"""The two learned policies as torch modules: message passing, and the one of the report.

What a product reads is torch's own copy (``torch.tensor``, not ``from_numpy``), whose memory starts
at a multiple of 64 bytes. NumPy's need not, and BLAS rounds by where an operand starts: equal seeds
would not give equal policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from byways.sparse_inference._mpnn import Mpnn
from byways.sparse_inference._search import first_spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from byways.sparse_inference._graph import EdgeGraph
    from byways.sparse_inference._ppo import Batch

__all__ = ["LaplacianNet", "MpnnNet", "embeddings", "load_laplacian"]


class MpnnNet(nn.Module):
    """The message-passing policy with a value; see ``_mpnn`` for its formula.

    The value is that of the pooled choices times the share of edges left.
    """

    linear: nn.Parameter
    spread: Tensor  # of the search over the linear weights

    def __init__(self, weights: Mpnn, generator: np.random.Generator) -> None:
        super().__init__()
        for name, array in weights._asdict().items():
            self.register_parameter(name, nn.Parameter(torch.tensor(array, dtype=torch.float64)))
        width, features = weights.first.shape
        inner = generator.normal(0.0, np.sqrt(2 / (width + features)), (width, width + features))
        self.value_first = nn.Parameter(torch.tensor(inner))
        self.value_last = nn.Parameter(torch.zeros(width + 1, dtype=torch.float64))
        self.register_buffer("spread", torch.tensor(first_spread(weights.linear)))

    def weights(self) -> Mpnn:
        """Give the weights of the policy as arrays."""
        own = dict(self.named_parameters())
        return Mpnn(*(own[name].detach().numpy().copy() for name in Mpnn._fields))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give scores and values."""
        own = dict(self.named_parameters())
        small = batch.features.log1p()
        hidden = (small @ own["first"].T + own["first_bias"]).relu()
        for weight, bias in zip(own["rounds"], own["rounds_bias"], strict=True):
            everyone = _mean_of(hidden, batch.owner, batch.decisions)[batch.owner]
            parts = [hidden]
            parts += [_mean_of(hidden, g, len(g))[g] for g in (batch.by_source, batch.by_target)]
            hidden = (torch.cat([*parts, everyone], dim=1) @ weight.T + bias).relu()
        scores = batch.features @ own["linear"] + hidden @ own["last"]
        # The value reads what the policy sees but does not bend it: its errors are the larger ones.
        seen = torch.cat([hidden.detach(), small], dim=1)
        pooled = _mean_of(seen, batch.owner, batch.decisions)
        inner = (pooled @ self.value_first.T).relu()
        value = inner @ self.value_last[:-1] + self.value_last[-1]
        return scores, value * (1 - batch.features[batch.starts[:-1], -1])


def _mean_of(rows: Tensor, group: Tensor, groups: int) -> Tensor:
    """Average rows over groups; a group without rows has zeros."""
    sums = torch.zeros((groups, rows.shape[1]), dtype=rows.dtype).index_add(0, group, rows)
    ones = torch.ones(len(group), dtype=rows.dtype)
    sizes = torch.zeros(groups, dtype=rows.dtype).index_add(0, group, ones)
    return sums / sizes.clamp(min=1)[:, None]


class LaplacianNet(nn.Module):
    """The learned policy EON of the edge-order report, for one network.

    An edge is the pair of its ends' embeddings. Ready edges attend to each other, then to the
    vertices in the cache: the score of an edge is its largest attention score over the cache. The
    value is read by a learned query from both. Quadratic in the ready edges.
    """

    def __init__(
        self, embedding: NDArray[np.float64], width: int, generator: np.random.Generator
    ) -> None:
        super().__init__()
        self.embedding: Tensor
        self.register_buffer("embedding", torch.tensor(embedding))
        size = embedding.shape[1]
        shapes = {
            "edge": (2 * size, width), "vertex": (size, width), "query": (width, width),
            "key": (width, width), "content": (width, width), "cross_query": (width, width),
            "cross_key": (width, width), "value_key": (width, width),
            "value_content": (width, width),
        }  # fmt: skip
        for name, shape in shapes.items():
            start = generator.normal(0.0, 1 / np.sqrt(shape[0]), shape)
            self.register_parameter(name, nn.Parameter(torch.tensor(start)))
        self.value_query = nn.Parameter(torch.tensor(generator.normal(size=width)))
        self.value_last = nn.Parameter(torch.zeros(width, dtype=torch.float64))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give scores and values."""
        own = dict(self.named_parameters())
        scale = own["key"].shape[0] ** -0.5
        ends = [self.embedding[batch.extras[name]] for name in ("row_source", "row_target")]
        place = torch.arange(len(batch.owner)) - batch.starts[:-1][batch.owner]
        tokens, present = _padded(torch.cat(ends, dim=1) @ own["edge"], batch, place)
        attention = (tokens @ own["query"]) @ (tokens @ own["key"]).mT * scale
        attention = attention.masked_fill(~present[:, None, :], -torch.inf).softmax(dim=2)
        tokens = tokens + attention @ (tokens @ own["content"])
        cache, held = batch.extras["cache"], batch.extras["cache"] >= 0
        vertices = self.embedding[cache.clamp(min=0)] @ own["vertex"]
        cross = (tokens @ own["cross_query"]) @ (vertices @ own["cross_key"]).mT * scale
        cross = cross.masked_fill(~held[:, None, :], -torch.inf).amax(dim=2)
        cross = cross.masked_fill(~held.any(dim=1)[:, None], 0.0)  # at the first move
        both = torch.cat([tokens, vertices], dim=1)
        reading = (both @ own["value_key"]) @ own["value_query"] * scale
        reading = reading.masked_fill(~torch.cat([present, held], dim=1), -torch.inf)
        read = (reading.softmax(dim=1)[:, None] @ (both @ own["value_content"]))[:, 0]
        left = 1 - batch.features[batch.starts[:-1], -1]
        return cross[batch.owner, place], (read @ own["value_last"]) * left


def _padded(rows: Tensor, batch: Batch, place: Tensor) -> tuple[Tensor, Tensor]:
    """Put the rows of each decision side by side, and tell which places are taken."""
    longest = int(batch.starts.diff().max())
    padded = torch.zeros((batch.decisions, longest, rows.shape[1]), dtype=rows.dtype)
    present = torch.zeros((batch.decisions, longest), dtype=torch.bool)
    present[batch.owner, place] = True
    return padded.index_put((batch.owner, place), rows), present


def embeddings(graph: EdgeGraph, size: int) -> NDArray[np.float64]:
    """Give the eigenvectors of the undirected Laplacian with the largest eigenvalues.

    Shape ``(n, size)``, filled with zeros where the network has fewer vertices. Signs, and bases of
    eigenvalues that repeat, are arbitrary: keep what a policy was trained with. Time O(n^3).
    """
    laplacian = np.zeros((graph.vertices, graph.vertices))
    laplacian[graph.sources, graph.targets] = -1.0
    laplacian += laplacian.T
    np.fill_diagonal(laplacian, graph.in_degree + graph.out_degree)
    vectors = np.linalg.eigh(laplacian)[1][:, ::-1][:, :size]
    return np.pad(vectors * np.sqrt(graph.vertices), ((0, 0), (0, size - vectors.shape[1])))


def load_laplacian(arrays: Mapping[str, NDArray[np.float64]]) -> LaplacianNet:
    """Make the net of saved weights."""
    width = arrays["key"].shape[0]
    net = LaplacianNet(arrays["embedding"], width, np.random.default_rng(0))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(arrays[name]))
    return net
