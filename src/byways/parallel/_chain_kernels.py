"""Compiled loops over chains of layers ``h_l = a h_{l-1} + s g(W_l h_{l-1} + b_l)``.

A plain chain has ``a = 0, s = 1``, a residual chain ``a = 1``. Axes: L layers, B batch, W width.
Both passes add multiples of contiguous rows.
"""

from __future__ import annotations

from byways.core.compiled import fusing_entry
from byways.parallel._vector_math import logistic, tanh

__all__ = ["ACTIVATIONS", "chain_backward", "chain_forward"]

ACTIVATIONS = {"identity": 0, "relu": 1, "tanh": 2, "sigmoid": 3}


# sizes: kernel, one loop nest; calls would cost more than a small product
@fusing_entry
def chain_forward(V_LWW, b_LW, x_BW, carry, scale, kind, h_LBW, slope_LBW) -> None:
    """Fill the states and the slopes ``s g'(z)``; ``V`` is ``W`` transposed, so rows are added.

    Slopes come from the values where they can. ReLU at zero has slope zero, as in torch.
    """
    layers, batch, width = h_LBW.shape
    for layer in range(layers):
        for n in range(batch):
            x = x_BW[n] if layer == 0 else h_LBW[layer - 1, n]
            y, slope = h_LBW[layer, n], slope_LBW[layer, n]
            for i in range(width):
                y[i] = b_LW[layer, i]
            for j in range(width):
                for i in range(width):
                    y[i] += V_LWW[layer, j, i] * x[j]
            if kind == 0:
                for i in range(width):
                    slope[i] = scale
                    y[i] = carry * x[i] + scale * y[i]
            elif kind == 1:
                for i in range(width):
                    slope[i] = scale if y[i] > 0 else 0 * scale
                    y[i] = carry * x[i] + slope[i] * y[i]
            elif kind == 2:
                for i in range(width):
                    value = tanh(y[i])
                    slope[i] = scale * (1 - value * value)
                    y[i] = carry * x[i] + scale * value
            else:
                for i in range(width):
                    value = logistic(y[i])
                    slope[i] = scale * (value * (1 - value))
                    y[i] = carry * x[i] + scale * value


# sizes: kernel, one loop nest; calls would cost more than a small product
@fusing_entry
def chain_backward(W_LWW, x_BW, h_LBW, slope_LBW, carry, g_BW, dW_LWW, db_LW) -> None:
    """Turn the cotangent of the last state, in place, into that of the input; fill gradients."""
    layers, batch, width = h_LBW.shape
    for layer in range(layers - 1, -1, -1):
        for i in range(width):
            db_LW[layer, i] = 0
            for j in range(width):
                dW_LWW[layer, i, j] = 0
        for n in range(batch):
            x = x_BW[n] if layer == 0 else h_LBW[layer - 1, n]
            u, slope = g_BW[n], slope_LBW[layer, n]
            local = slope_LBW[layer, n]  # the slopes are not needed again: keep g' u there
            for i in range(width):
                local[i] = slope[i] * u[i]
                u[i] = carry * u[i]
            for i in range(width):
                part = local[i]
                db_LW[layer, i] += part
                for j in range(width):
                    u[j] += part * W_LWW[layer, i, j]
                    dW_LWW[layer, i, j] += part * x[j]
