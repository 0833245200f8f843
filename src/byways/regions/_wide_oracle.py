"""Is a point in a zonotope? Newton's method on the dual of the least-norm problem.

The box is ``s = 1/2 + delta`` with ``|delta_j| <= 1/2``; its image under the rows ``W`` is the
zonotope ``Z = {centre + W delta}``. For a target ``t``, and some *negative* rows of which only
``z_i <= t_i`` is asked, the shortest ``delta`` that leads there solves a concave problem in as many
unknowns ``u`` as there are rows::

    maximise  u . (t - centre) - sum_j H((W^T u)_j)     u_i <= 0 for the negative rows
    H(s) = s^2 / 2 for |s| <= 1/2, |s| / 2 - 1/8 beyond

Its gradient is ``t - z`` with ``z = centre + W clip(W^T u)``, a point of Z whatever ``u`` is. Where
``u . (t - centre)`` exceeds ``sum_j |W^T u|_j / 2``, all of Z lies on the near side: a proof that
the target is outside.

The sums may be taken in any order: a witness is looked at with margins, and a proof counts only if
it holds beyond the bound on rounding that ``slack`` computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from byways.core.compiled import borrowing, summing

__all__ = ["assign", "evaluate", "image", "improve", "multiply", "newton", "radius", "slack"]

_HALVINGS = 8
_ARMIJO = 0.2  # part of the promised rise that a step must bring
_MOST_STEPS = 40


@borrowing
def assign(target, source):
    """Copy an array into another; a slice's assignment would allocate."""
    for i in range(source.size):
        target[i] = source[i]


@summing
def multiply(W, u, s):
    """Write ``s = W^T u``."""
    for j in range(s.size):
        s[j] = 0.0
    for i in range(0, W.shape[0], 4):
        a, b, c, d = u[i], u[i + 1], u[i + 2], u[i + 3]
        if a == 0.0 and b == 0.0 and c == 0.0 and d == 0.0:
            continue
        for j in range(s.size):
            s[j] += a * W[i, j] + b * W[i + 1, j] + c * W[i + 2, j] + d * W[i + 3, j]


@summing
def image(W, centre, delta, z):
    """Write ``z = centre + W delta``."""
    for i in range(0, W.shape[0], 4):
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for j in range(delta.size):
            a += W[i, j] * delta[j]
            b += W[i + 1, j] * delta[j]
            c += W[i + 2, j] * delta[j]
            d += W[i + 3, j] * delta[j]
        z[i], z[i + 1], z[i + 2], z[i + 3] = a, b, c, d
    for i in range(W.shape[0]):
        z[i] += centre[i]


@summing
def evaluate(W, centre, u, t, s, delta, z):
    """Write ``s = W^T u``, ``delta = clip(s)`` and ``z = centre + W delta``.

    Returns the dual value, ``u . (t - centre)``, and the support ``sum |s| / 2``.
    """
    multiply(W, u, s)
    support, penalty = 0.0, 0.0
    for j in range(s.size):
        size = abs(s[j])
        short = min(size, 0.5)
        delta[j] = min(max(s[j], -0.5), 0.5)
        support += 0.5 * size
        penalty += short * (size - 0.5 * short)
    image(W, centre, delta, z)
    lift = 0.0
    for i in range(W.shape[0]):
        lift += u[i] * (t[i] - centre[i])
    return lift - penalty, lift, support


@summing
def _gather(W, s, G, place):
    """Copy the columns on which ``delta`` is not clipped; return their number, padded to 8."""
    m = 0
    for j in range(s.size):
        place[m] = j
        m += abs(s[j]) < 0.5
    padded = min((m + 7) // 8 * 8, G.shape[1])
    for i in range(W.shape[0]):
        for k in range(m):
            G[i, k] = W[i, place[k]]
        for k in range(m, padded):
            G[i, k] = 0.0
    return padded


@summing
def _hessian(G, m, H):
    """Write ``G G^T`` over the first ``m`` columns into the lower half of ``H``."""
    for i in range(G.shape[0]):
        for k in range(0, i + 1, 4):
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for j in range(m):
                g = G[i, j]
                a += g * G[k, j]
                b += g * G[k + 1, j]
                c += g * G[k + 2, j]
                d += g * G[k + 3, j]
            H[i, k], H[i, k + 1], H[i, k + 2], H[i, k + 3] = a, b, c, d


# sizes: kernel, one factorisation
@borrowing
def newton(W, t, negative, u, s, z, G, H, du, place, damping):
    """Write the Newton step into ``du``; a negative row moves only if it is violated or pulled.

    ``damping`` is added to the Hessian, in units of its mean diagonal entry.
    """
    w = W.shape[0]
    _hessian(G, _gather(W, s, G, place), H)
    trace, f = 0.0, 0
    for i in range(w):
        du[i] = 0.0
        if not negative[i] or u[i] < 0.0 or z[i] > t[i]:
            place[f] = i
            trace += H[i, i]
            f += 1
    ridge = damping * trace / max(f, 1) + 1e-300
    for a in range(f):
        i = place[a]
        for b in range(a + 1):
            k = place[b]
            total = H[i, k] if a != b else H[i, k] + ridge
            for c in range(b):
                total -= H[i, place[c]] * H[k, place[c]]
            if a != b:
                H[i, k] = total / H[k, k]
            else:
                H[i, i] = np.sqrt(max(total, ridge))
    for a in range(f):
        i = place[a]
        total = t[i] - z[i]
        for c in range(a):
            total -= H[i, place[c]] * du[place[c]]
        du[i] = total / H[i, i]
    for a in range(f - 1, -1, -1):
        i = place[a]
        total = du[i]
        for c in range(a + 1, f):
            total -= H[place[c], i] * du[place[c]]
        du[i] = total / H[i, i]


@borrowing
def improve(W, centre, t, negative, u, du, value, s, delta, z, trial):
    """Go along ``du`` as far as the dual value rises; as ``evaluate``, or a value of -inf."""
    step, slope = 1.0, 0.0
    for i in range(u.size):
        slope += du[i] * (t[i] - z[i])
    for _ in range(_HALVINGS):
        for i in range(u.size):
            trial[i] = u[i] + step * du[i]
            if negative[i] and trial[i] > 0.0:
                trial[i] = 0.0
        found, lift, support = evaluate(W, centre, trial, t, s, delta, z)
        if found > value + _ARMIJO * step * slope:
            for i in range(u.size):
                u[i] = trial[i]
            return found, lift, support
        step *= 0.5
    evaluate(W, centre, u, t, s, delta, z)
    return -np.inf, 0.0, 0.0


@borrowing
def slack(u, absolute, terms):
    """Bound the rounding in ``support - lift``: ``absolute`` sums ``|W| / 2`` and ``|centre|``."""
    total = 0.0
    for i in range(u.size):
        total += abs(u[i]) * absolute[i]
    return terms * 2.3e-16 * total


# sizes: kernel, one search
@borrowing
def radius(
    W: Any, centre, absolute, q, start, tight, free, t, s, delta, z, G, H, du, trial, u, place
) -> float:
    """Give a number just below ``max {r : r q in Z}``; 0 if none was found.

    ``free`` is False everywhere. ``tight`` is the residual that counts as reached. Each proof that
    ``r q`` is outside bounds the radius, and the next try is a little below that bound.
    """
    w = W.shape[0]
    r = start
    u[:] = 0.0
    for _ in range(200):
        for i in range(w):
            t[i] = r * q[i]
        value, _, support = evaluate(W, centre, u, t, s, delta, z)
        outside = False
        for _ in range(_MOST_STEPS):
            rest = 0.0
            for i in range(w):
                rest = max(rest, abs(t[i] - z[i]))
            if rest <= tight:
                return float(r * (1.0 - 1e-6))
            along, base = 0.0, 0.0
            for i in range(w):
                along += u[i] * q[i]
                base += u[i] * centre[i]
            bound = support + base + slack(u, absolute, s.size)
            if along * r > bound + 1e-9 * abs(bound) and along > 0.0:
                r = 0.999 * bound / along
                outside = True
                break
            newton(W, t, free, u, s, z, G, H, du, place, 1e-8)
            value, _, support = improve(W, centre, t, free, u, du, value, s, delta, z, trial)
            if value == -np.inf:
                break
        if r <= 0.0:
            return 0.0
        if not outside:
            r *= 0.98
            u[:] = 0.0
    return 0.0
