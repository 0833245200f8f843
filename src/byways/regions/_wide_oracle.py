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

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from byways.core.compiled import borrowing, summing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = [
    "Curvature",
    "assign",
    "climb",
    "evaluate",
    "image",
    "multiply",
    "newton",
    "radius",
    "slack",
    "weigh",
]

_MOST_STEPS = 40
_FLAT = 0.1  # part of the slope at the start that may be left at the end of a step
_MOST_PASSES = 24
_FARTHEST = 2.0  # Newton steps at once; where the value rises for ever, farther ones overflow
_FAR = 1e100  # slopes beyond it come of a system without a solution
_LEAST = 1e-12


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
    return settle(W, centre, u, t, s, delta, z)


class Curvature(NamedTuple):
    """``W W^T`` over the columns on which ``delta`` is not clipped, kept from step to step."""

    total: Array  # its lower half
    inside: NDArray[np.uint8]  # the columns that it is taken over
    flip: NDArray[np.uint8]
    inside_words: NDArray[np.uint64]  # the same memory, eight flags at once
    flip_words: NDArray[np.uint64]
    sign: Array
    place: NDArray[np.int64]
    G: Array  # the columns that come or go
    factor: Array
    least: float  # what is always added to the diagonal: all columns may be clipped

    @classmethod
    def of(cls, W: Array) -> Curvature:
        """Start with no columns."""
        w, n = W.shape
        inside, flip = np.zeros((2, n), dtype=np.uint8)
        return cls(
            total=np.zeros((w, w)),
            inside=inside,
            flip=flip,
            inside_words=inside.view(np.uint64),
            flip_words=flip.view(np.uint64),
            sign=np.zeros(n + 8),
            place=np.zeros(n + 8, dtype=np.int64),
            G=np.zeros((w, n + 8)),
            factor=np.zeros((w, w)),
            least=_LEAST * float((W * W).sum()) / max(w, 1) + 1e-300,
        )


@summing
def _flips(s, inside, flip):
    """Mark the columns that come or go; return how many are inside."""
    count = 0
    for j in range(s.size):
        now = np.uint8(1) if abs(s[j]) < 0.5 else np.uint8(0)
        flip[j] = now ^ inside[j]
        inside[j] = now
        count += int(now)
    return count


@borrowing
def _listed(flag, words, place):
    """List the places of non-zero flags."""
    m = 0
    for i in range(words.size):
        if words[i]:
            for j in range(8 * i, 8 * i + 8):
                place[m] = j
                m += flag[j]
    return m


@summing
def _hessian(W, s, curvature):
    """Bring the curvature up to date."""
    total, inside, flip, sign = curvature.total, curvature.inside, curvature.flip, curvature.sign
    place, G = curvature.place, curvature.G
    count = _flips(s, inside, flip)
    m = _listed(flip, curvature.flip_words, place)
    if m > count:
        m = _listed(inside, curvature.inside_words, place)
        total[:] = 0.0
    padded = (m + 7) // 8 * 8
    for k in range(m):
        sign[k] = 1.0 if inside[place[k]] else -1.0
    for k in range(m, padded):
        place[k], sign[k] = 0, 0.0
    w = W.shape[0]
    for i in range(w):
        for k in range(padded):
            G[i, k] = W[i, place[k]]
    for i in range(w):
        for k in range(0, i + 1, 4):
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for j in range(padded):
                g = sign[j] * G[i, j]
                a += g * G[k, j]
                b += g * G[k + 1, j]
                c += g * G[k + 2, j]
                d += g * G[k + 3, j]
            total[i, k] += a
            total[i, k + 1] += b
            total[i, k + 2] += c
            total[i, k + 3] += d


# sizes: kernel, one factorisation
@borrowing
def newton(W, t, negative, u, s, z, curvature, du, damping):
    """Write the Newton step into ``du``; a negative row moves only if it is violated or pulled.

    ``damping`` is added to the Hessian, in units of its mean diagonal entry.
    """
    w = W.shape[0]
    _hessian(W, s, curvature)
    total, H, place = curvature.total, curvature.factor, curvature.place
    trace, f = 0.0, 0
    for i in range(w):
        du[i] = 0.0
        if not negative[i] or u[i] < 0.0 or z[i] > t[i]:
            place[f] = i
            trace += total[i, i]
            f += 1
    ridge = damping * max(trace, 0.0) / max(f, 1) + curvature.least
    for a in range(f):
        i = place[a]
        for b in range(a + 1):
            k = place[b]
            rest = total[i, k] if a != b else total[i, k] + ridge
            for c in range(b):
                rest -= H[i, place[c]] * H[k, place[c]]
            if a != b:
                H[i, k] = rest / H[k, k]
            else:
                H[i, i] = np.sqrt(max(rest, ridge))
    for a in range(f):
        i = place[a]
        rest = t[i] - z[i]
        for c in range(a):
            rest -= H[i, place[c]] * du[place[c]]
        du[i] = rest / H[i, i]
    for a in range(f - 1, -1, -1):
        i = place[a]
        rest = du[i]
        for c in range(a + 1, f):
            rest -= H[place[c], i] * du[place[c]]
        du[i] = rest / H[i, i]


@summing
def along(s, ds, step):
    """Give ``sum ds clip(s + step ds)`` and its slope in ``step``."""
    total, bend = 0.0, 0.0
    for j in range(s.size):
        x = s[j] + step * ds[j]
        total += ds[j] * (0.5 if x > 0.5 else (-0.5 if x < -0.5 else x))
        bend += ds[j] * ds[j] if abs(x) < 0.5 else 0.0
    return total, bend


@summing
def settle(W, centre, u, t, s, delta, z):
    """As ``evaluate`` where ``s`` is known."""
    result = weigh(centre, u, t, s, delta)
    image(W, centre, delta, z)
    return result


@summing
def weigh(centre, u, t, s, delta):
    """As ``evaluate`` where ``s`` and ``z`` are known."""
    support, penalty = 0.0, 0.0
    for j in range(s.size):
        x = s[j]
        clipped = 0.5 if x > 0.5 else (-0.5 if x < -0.5 else x)  # min and max would not vectorise
        delta[j] = clipped
        support += 0.5 * abs(x)
        penalty += clipped * (x - 0.5 * clipped)
    lift = 0.0
    for i in range(u.size):
        lift += u[i] * (t[i] - centre[i])
    return lift - penalty, lift, support


@borrowing
def climb(W, centre, t, negative, u, du, s, ds, delta, z):
    """Go along ``du`` to where the dual value is largest; as ``evaluate``, of which it needs ``z``.

    A pull on a negative row that ends on the way stays at zero, and the way goes on without it. If
    the value does not rise, all stays as it is and -inf is returned. ``s`` is carried along; ask
    ``evaluate`` before it serves as a proof.
    """
    multiply(W, du, ds)
    rise, slope = 0.0, 0.0
    for i in range(u.size):
        rise += du[i] * (t[i] - centre[i])
        slope += du[i] * (t[i] - z[i])
    moved = False
    for _ in range(u.size):
        most, row = _FARTHEST, -1
        for i in range(u.size):
            if negative[i] and du[i] > 0.0 and -u[i] < most * du[i]:
                most, row = -u[i] / du[i], i
        step = 0.0
        if most > 0.0:
            step = peak(s, ds, rise, slope, most)
        if step > 0.0:
            moved = True
            for i in range(u.size):
                u[i] += step * du[i]
            for j in range(s.size):
                s[j] += step * ds[j]
        if step < most or row < 0:
            break
        u[row] = 0.0
        for j in range(s.size):
            ds[j] -= du[row] * W[row, j]
        rise -= du[row] * (t[row] - centre[row])
        du[row] = 0.0
        slope = rise - along(s, ds, 0.0)[0]
    if not moved:
        return -np.inf, 0.0, 0.0
    return settle(W, centre, u, t, s, delta, z)


@borrowing
def peak(s, ds, rise, first, most):
    """Give the step up to ``most`` at which ``step rise - sum H(s + step ds)`` is largest.

    ``first`` is its slope at 0.

    Newton's method on its slope, which falls piecewise linearly, within the steps between which
    the slope is known to change its sign. The result is 0 where the value does not rise.
    """
    if not 0.0 < first < _FAR:  # nor if it is NaN
        return 0.0
    low, high, step = 0.0, 2.0 * most, min(1.0, most)
    for _ in range(_MOST_PASSES):
        total, bend = along(s, ds, step)
        slope = rise - total
        if abs(slope) <= _FLAT * first:
            return step
        if slope > 0.0:
            low = step
            if step == most:
                return most
        else:
            high = step
        step = min(step + slope / bend, most) if bend > 0.0 else -1.0
        if not low < step < high:
            step = min(0.5 * (low + high), most) if low > 0.0 else high / 8.0
    return low


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
    W: Any, centre, absolute, q, start, tight, free, t, s, ds, delta, z, curvature, du, u
) -> float:
    """Give a number just below ``max {r : r q in Z}``; 0 if none was found.

    ``free`` is False everywhere. ``tight`` is the residual that counts as reached. Each proof that
    ``r q`` is outside bounds the radius, and the next try is a little below that bound.
    """
    w = W.shape[0]
    r = start
    u[:] = 0.0
    curvature.inside[:] = 0  # so that the result does not hang on the steps before
    curvature.total[:] = 0.0
    for _ in range(200):
        for i in range(w):
            t[i] = r * q[i]
        value, _, support = evaluate(W, centre, u, t, s, delta, z)
        outside = False
        for _ in range(_MOST_STEPS):
            reached = True
            for i in range(w):
                reached &= abs(t[i] - z[i]) <= tight  # no NaN passes
            if reached:
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
            newton(W, t, free, u, s, z, curvature, du, 1e-8)
            value, _, support = climb(W, centre, t, free, u, du, s, ds, delta, z)
            if value == -np.inf:
                break
        if r <= 0.0:
            return 0.0
        if not outside:
            r *= 0.98
            u[:] = 0.0
    return 0.0
