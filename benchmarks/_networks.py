"""Networks that are the same on every machine, without PyTorch."""

from __future__ import annotations

import numpy as np

from byways.core import LayerChain

__all__ = ["name", "seeded_network"]


def seeded_network(*widths: int, seed: int = 0) -> LayerChain:
    """Give the network that PyTorch draws after ``torch.manual_seed(seed)``.

    ``torch.nn.Linear(a, b)`` for consecutive widths, then one linear output; ReLU between them.
    Both libraries have the same Mersenne Twister. PyTorch takes 24 bits of a draw for a number u
    and rounds ``u (2 bound) - bound`` once to float32, as is done here by way of float64.

    Args:
        widths: Inputs and hidden units.
        seed: The seed.

    Returns:
        The chain, with float32 weights in float64.
    """
    draw = np.random.RandomState(seed)  # the old generator is PyTorch's
    pairs = []
    for fan_in, width in zip(widths, (*widths[1:], 1), strict=True):
        bound = float(np.float32(fan_in**-0.5))
        arrays = []
        for shape in ((width, fan_in), (width,)):
            u = (draw.randint(0, 2**32, size=shape, dtype=np.uint32) & 0xFFFFFF) * 2.0**-24
            arrays.append((u * (2.0 * bound) - bound).astype(np.float32).astype(np.float64))
        pairs.append((arrays[0], arrays[1]))
    return LayerChain.from_arrays(pairs)


def name(widths: tuple[int, ...]) -> str:
    """Write widths as ``2-16-16``."""
    return "-".join(map(str, widths))
