"""Compiled loops over time for the three standard cells, forward and backward.

Axes: T steps, B sequences, H units; a gate axis stacks blocks of H in torch's order. Every array is
C-contiguous. ``x`` holds the input's part of each pre-activation, W_ih x_t + b_ih, and the loops
add the recurrent part. Time is the outer loop, so that memory is read in order and the
processor has independent sequences to overlap.

After its own length a sequence holds its state, and its gradient passes through unchanged.

The loops over units are short on purpose. The compiler makes vector code of a loop only if a few
comparisons of addresses rule out that its arrays overlap, so each loop writes one array.
"""

from __future__ import annotations

import numpy as np

from byways.core.compiled import fusing, fusing_entry
from byways.parallel._vector_math import logistic, tanh

__all__ = [
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]


@fusing
def _add_product(z, v, M):
    """Add v M to z, four rows at a time: one store for four multiply-adds."""
    rows, columns = M.shape
    whole = rows // 4 * 4
    for k in range(0, whole, 4):
        a, b, c, d = v[k], v[k + 1], v[k + 2], v[k + 3]
        row_a, row_b, row_c, row_d = M[k], M[k + 1], M[k + 2], M[k + 3]
        for j in range(columns):
            z[j] += a * row_a[j] + b * row_b[j] + c * row_c[j] + d * row_d[j]
    for k in range(whole, rows):
        a, row_a = v[k], M[k]
        for j in range(columns):
            z[j] += a * row_a[j]


@fusing
def _add_flushed(d, carry, g, tiny):
    """Set d to carry + g, with values below ``tiny`` as 0; tell whether anything is left.

    The cotangents of a loss at the last step die out with the distance from it. Denormal numbers
    would be a hundred times slower than others, and once all are 0 the product can be left out.
    """
    zero = d.dtype.type(0)
    for j in range(len(d)):
        total = carry[j] + g[j]
        d[j] = zero if abs(total) < tiny else total  # this way round NaN stays
    some, j = False, 0
    while not some and j < len(d):  # the first value decides but for losses at the last step
        some = d[j] != 0
        j += 1
    return some


# sizes: kernel, the loop over steps keeps its buffers
@fusing_entry
def rnn_forward(x, h0, R, bias, lengths, relu, out):
    """h_t = tanh or relu of (x_t + b_hh + h_{t-1} R), R = W_hh^T; states go to ``out``."""
    T, B, H = x.shape
    z = np.empty(H, x.dtype)
    for t in range(T):
        for b in range(B):
            h = out[t - 1, b] if t > 0 else h0[b]
            new = out[t, b]
            if t >= lengths[b]:
                new[:] = h
                continue
            x_t = x[t, b]
            for j in range(H):
                z[j] = x_t[j] + bias[j]
            _add_product(z, h, R)
            if relu:
                for j in range(H):
                    # Written this way round NaN stays NaN.
                    new[j] = x.dtype.type(0) if z[j] < 0 else z[j]
            else:
                for j in range(H):
                    new[j] = tanh(z[j])


# sizes: kernel, the loop over steps keeps its buffers
@fusing_entry
def rnn_backward(grad, out, W, lengths, relu, tiny, grad_x, grad_h0):
    """Solve delta_{t-1} = W_hh^T (f'_t delta_t) + g_{t-1}; ``grad_x`` gets f'_t delta_t."""
    T, B, H = out.shape
    zero = out.dtype.type(0)
    grad_h0[:] = 0
    for t in range(T - 1, -1, -1):
        for b in range(B):
            carry, g, dz, h = grad_h0[b], grad[t, b], grad_x[t, b], out[t, b]
            if t >= lengths[b]:
                for j in range(H):
                    carry[j] += g[j]
                dz[:] = 0
                continue
            some = _add_flushed(dz, carry, g, tiny)
            for j in range(H):
                carry[j] = 0
            if not some:
                continue
            if relu:
                for j in range(H):
                    dz[j] = dz[j] if h[j] > 0 else zero
            else:
                for j in range(H):
                    dz[j] *= 1 - h[j] * h[j]
            _add_product(carry, dz, W)


# sizes: kernel, the loop over steps keeps its buffers
@fusing_entry
def gru_forward(x, h0, R, bias, lengths, out, gates):
    """One GRU layer in torch's form; ``gates`` gets r, z, n and q = W_hn h + b_hn.

    r = s(x_r + W_hr h + b_hr), z likewise, n = tanh(x_n + r q), h' = (1 - z) n + z h.
    """
    T, B, H = out.shape
    a = np.empty(3 * H, x.dtype)
    for t in range(T):
        for b in range(B):
            h = out[t - 1, b] if t > 0 else h0[b]
            new = out[t, b]
            if t >= lengths[b]:
                new[:] = h
                gates[t, b, :] = 0
                continue
            x_t, gate = x[t, b], gates[t, b]
            for j in range(3 * H):
                a[j] = bias[j]
            _add_product(a, h, R)
            for j in range(2 * H):
                gate[j] = logistic(x_t[j] + a[j])
            r, z, n, q = gate[:H], gate[H : 2 * H], gate[2 * H : 3 * H], gate[3 * H :]
            x_n, a_n = x_t[2 * H :], a[2 * H :]
            for j in range(H):
                q[j] = a_n[j]
            for j in range(H):
                n[j] = tanh(x_n[j] + r[j] * q[j])
            for j in range(H):
                new[j] = n[j] + z[j] * (h[j] - n[j])


# sizes: kernel, the loop over steps keeps its buffers
@fusing_entry
def gru_backward(grad, out, h0, gates, W, lengths, tiny, grad_x, grad_q, grad_h0):
    """Solve the cotangent recurrence of :func:`gru_forward`.

    ``grad_x`` gets the gradients of the pre-activations r, z, n; ``grad_q`` those of q, which takes
    the place of n on the recurrent side.
    """
    T, B, H = out.shape
    a, d = np.empty(3 * H, out.dtype), np.empty(H, out.dtype)
    a_r, a_z, a_q = a[:H], a[H : 2 * H], a[2 * H :]
    grad_h0[:] = 0
    for t in range(T - 1, -1, -1):
        for b in range(B):
            carry = grad_h0[b]
            g, dx, dq, gate = grad[t, b], grad_x[t, b], grad_q[t, b], gates[t, b]
            if t >= lengths[b]:
                for j in range(H):
                    carry[j] += g[j]
                dx[:] = 0
                dq[:] = 0
                continue
            if not _add_flushed(d, carry, g, tiny):
                carry[:] = 0
                dx[:] = 0
                dq[:] = 0
                continue
            h = out[t - 1, b] if t > 0 else h0[b]
            r, z, n, q = gate[:H], gate[H : 2 * H], gate[2 * H : 3 * H], gate[3 * H :]
            d_n = dx[2 * H :]
            for j in range(H):
                d_n[j] = d[j] * (1 - z[j]) * (1 - n[j] * n[j])
            for j in range(H):
                a_r[j] = d_n[j] * q[j] * r[j] * (1 - r[j])
            for j in range(H):
                a_z[j] = d[j] * (h[j] - n[j]) * z[j] * (1 - z[j])
            for j in range(H):
                dq[j] = d_n[j] * r[j]
            for j in range(H):
                carry[j] = d[j] * z[j]
            for j in range(H):
                a_q[j] = dq[j]
            for j in range(2 * H):
                dx[j] = a[j]
            _add_product(carry, a, W)


# sizes: kernel, the loop over steps keeps its buffers
@fusing_entry
def lstm_forward(x, h0, c0, R, bias, lengths, out, cells, gates):
    """One LSTM layer in torch's form; ``cells`` gets c_t, ``gates`` i, f, g, o.

    c' = f c + i g, h' = o tanh(c'), with i, f, o logistic and g = tanh.
    """
    T, B, H = out.shape
    a = np.empty(4 * H, x.dtype)
    for t in range(T):
        for b in range(B):
            h, c = (out[t - 1, b], cells[t - 1, b]) if t > 0 else (h0[b], c0[b])
            new, cell = out[t, b], cells[t, b]
            if t >= lengths[b]:
                new[:] = h
                cell[:] = c
                gates[t, b, :] = 0
                continue
            x_t, gate = x[t, b], gates[t, b]
            for j in range(4 * H):
                a[j] = x_t[j] + bias[j]
            _add_product(a, h, R)
            for j in range(2 * H):
                gate[j] = logistic(a[j])
            for j in range(2 * H, 3 * H):
                gate[j] = tanh(a[j])
            for j in range(3 * H, 4 * H):
                gate[j] = logistic(a[j])
            i, f, u, o = gate[:H], gate[H : 2 * H], gate[2 * H : 3 * H], gate[3 * H :]
            for j in range(H):
                cell[j] = f[j] * c[j] + i[j] * u[j]
            for j in range(H):
                new[j] = o[j] * tanh(cell[j])


# sizes: kernel, the loop over steps keeps its buffers
@fusing_entry
def lstm_backward(grad, cells, c0, gates, W, lengths, tiny, grad_x, grad_h0, grad_c0):
    """Solve the cotangent recurrence of :func:`lstm_forward`.

    ``grad_c0`` holds the cotangent of the last c on entry and that of c_0 on return.
    """
    T, B, H = cells.shape
    d, d_c, y = np.empty(H, cells.dtype), np.empty(H, cells.dtype), np.empty(H, cells.dtype)
    zeros = np.zeros(H, cells.dtype)
    grad_h0[:] = 0
    for t in range(T - 1, -1, -1):
        for b in range(B):
            carry, carry_c = grad_h0[b], grad_c0[b]
            g, dx, gate, cell = grad[t, b], grad_x[t, b], gates[t, b], cells[t, b]
            if t >= lengths[b]:
                for j in range(H):
                    carry[j] += g[j]
                dx[:] = 0
                continue
            some = _add_flushed(d, carry, g, tiny)
            if not (_add_flushed(carry_c, carry_c, zeros, tiny) or some):
                carry[:] = 0
                dx[:] = 0
                continue
            c = cells[t - 1, b] if t > 0 else c0[b]
            i, f, u, o = gate[:H], gate[H : 2 * H], gate[2 * H : 3 * H], gate[3 * H :]
            d_i, d_f, d_u, d_o = dx[:H], dx[H : 2 * H], dx[2 * H : 3 * H], dx[3 * H :]
            for j in range(H):
                y[j] = tanh(cell[j])
            for j in range(H):
                d_c[j] = carry_c[j] + d[j] * o[j] * (1 - y[j] * y[j])
            for j in range(H):
                d_i[j] = d_c[j] * u[j] * i[j] * (1 - i[j])
            for j in range(H):
                d_f[j] = d_c[j] * c[j] * f[j] * (1 - f[j])
            for j in range(H):
                d_u[j] = d_c[j] * i[j] * (1 - u[j] * u[j])
            for j in range(H):
                d_o[j] = d[j] * y[j] * o[j] * (1 - o[j])
            for j in range(H):
                carry_c[j] = d_c[j] * f[j]
            for j in range(H):
                carry[j] = 0
            _add_product(carry, dx, W)
