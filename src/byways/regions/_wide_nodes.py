# sizes: the tests of a node in the order in which they are tried
"""Is a node alive? Certificates at its vertex, shared cuts, and the oracle, in this order."""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing
from byways.regions._wide_dictionary import DOUBT, EMPTY, dual, express
from byways.regions._wide_oracle import assign, climb, evaluate, newton, radius, slack, weigh
from byways.regions._wide_tree import (
    AGE,
    AT_VERTEX,
    BY_WITNESS,
    CEILING,
    CERTIFICATE,
    COLUMNS,
    CUTS,
    DEAD,
    LEVEL,
    MOST_CUTS,
    MOST_STARTS,
    ORACLE,
    PIVOTS,
    SIZE,
    STARTS,
    UNRESOLVED,
    WARM,
)

__all__ = ["at_vertex", "examine", "interior"]

_INSIDE = 1.0 - 1e-9  # largest gauge that counts as inside
_CUTS_PER_NODE = 20  # a program decides at once, in more time than these take
_STEPS = 20
_DAMPING = 1e-8
_PUSH, _LONG_PUSH = 0.02, 0.1
_BEYOND = 0.1  # part of the way from a node's hyperplane to its vertex
_WITNESS, _CUT, _UNDECIDED = range(3)


# sizes: kernel, the test of most nodes
@borrowing
def at_vertex(t, basic, slot, n, d, k, opened, opened_end, tolerance, apex, table, column, point):
    """Tell whether the vertex is simple and certainly inside the zonotope.

    The gauge of the hull of the axis points is below 1, or that of the hull of the sums of axes,
    for which coordinates are taken in descending order. Writes the vertex into ``point``; returns
    1 if it is certain, 0 if not, and -1 if an entry of the table is wanted, its index last.
    """
    for c in range(d):
        point[c] = 0.0
    simple = True
    for i in range(1, n):
        label = basic[slot, i]
        if label < 0 or opened <= label < opened_end:
            continue
        value = t[slot, i, 0]
        simple &= value > tolerance
        if label < k:
            point[label] = value
    if not apex or not simple:
        return 0, 0
    if t[slot, 0, 0] < _INSIDE:
        return 1, 0
    if table.size == 1:
        return 0, 0
    mask, gauge, before = 0, 0.0, np.inf
    best, tau = -1, 1.0
    while True:
        found, largest = -1, 0.0
        for c in range(d):
            if point[c] > largest and not (mask >> column[c]) & 1:
                found, largest = c, point[c]
        if best >= 0:
            gauge += (before - largest) / tau
            if gauge >= _INSIDE:
                return 0, 0
        if found < 0:
            return 1, 0
        best, before = found, largest
        mask |= 1 << column[found]
        tau = table[mask]
        if np.isnan(tau):
            return -1, mask
        if tau <= 0.0:
            return 0, 0


@borrowing
def fill(space, tree, mask):
    """Compute an entry of the table: the radius along a sum of axes."""
    q = tree.push[: space.W.shape[0]]
    q[:] = 0.0
    far = np.inf
    for i in range(space.rank):
        if (mask >> i) & 1:
            q[i] = space.outer[1, i]
            far = min(far, space.upper[i] / q[i])
    tight = np.inf
    for i in range(space.rank):
        if (mask >> i) & 1:
            tight = min(tight, 1e-9 * far * q[i])
    # fmt: off
    space.table[mask] = radius(
        space.W, space.centre, space.absolute, q, far, tight, tree.free, tree.target, tree.s,
        tree.ds, tree.delta, tree.z, tree.other_curvature, tree.du, tree.u,
    )
    # fmt: on


# sizes: kernel, the whole order of tests
@borrowing
def examine(space, tree, slot, first, tolerance, anchored):
    """Find out whether the node in a slot is alive; ``first`` is its first decision in the kernel.

    With ``anchored``, ``seen[slot]`` holds a point of its parent in the zonotope. May add cuts to
    its dictionary. Returns what shows it, ``DEAD`` or ``UNRESOLVED``.
    """
    t, basic, nonbasic, frame, cursor = tree.t, tree.basic, tree.nonbasic, tree.frame, tree.cursor
    d, k, level = cursor[COLUMNS], space.rank, frame[slot, LEVEL]
    opened, opened_end = k + level, k + tree.bits.size
    width = (d + 8) // 8 * 8
    ceiling = tree.number[CEILING]
    for _ in range(_CUTS_PER_NODE):
        if t[slot, 0, 0] > ceiling:
            return DEAD
        # fmt: off
        while True:
            sure, wanted = at_vertex(
                t, basic, slot, frame[slot, SIZE], d, k, opened, opened_end, tolerance, space.apex,
                space.table, tree.column, tree.point,
            )
            if sure >= 0:
                break
            fill(space, tree, wanted)
        # fmt: on
        if sure > 0:
            return AT_VERTEX
        n = frame[slot, SIZE]
        cut = _violated(tree.origin, opened_end, cursor[CUTS], d, tree.point, basic, slot, n)
        if cut < 0:
            cursor[ORACLE] += 1
            found = search(space, tree, slot, first, tolerance, anchored)
            if found == _WITNESS:
                return BY_WITNESS
            if found == _UNDECIDED or cursor[CUTS] == MOST_CUTS:
                return UNRESOLVED
            cut = cursor[CUTS]
            cursor[CUTS] += 1
            store(space, tree, opened_end + cut)
        if n >= basic.shape[1] - (tree.bits.size - level):  # later stages need room for their rows
            return UNRESOLVED
        basic[slot, n] = -1
        express(tree.origin, opened_end + cut, 1.0, t, basic, nonbasic, slot, n, d, k, n)
        basic[slot, n] = opened_end + cut
        frame[slot, SIZE] = n + 1
        # fmt: off
        outcome, pivots = dual(
            t, basic, nonbasic, slot, n + 1, d, width, opened, opened_end, ceiling, tolerance
        )
        # fmt: on
        cursor[PIVOTS] += pivots
        frame[slot, AGE] += pivots
        if outcome == EMPTY:
            return DEAD
        if outcome == DOUBT:
            return UNRESOLVED
    return UNRESOLVED


@borrowing
def _violated(origin, first, count, d, point, basic, slot, n):
    """Find the stored cut that is violated most at a point, or -1."""
    worst, found = -1e-9, -1
    for i in range(count):
        value = origin[first + i, 0]
        for c in range(d):
            value += origin[first + i, c + 1] * point[c]
        if value < worst:
            worst, found = value, i
    if found >= 0:
        for i in range(1, n):
            if basic[slot, i] == first + found:
                return -1
    return found


# sizes: kernel, one pass over a dictionary
@borrowing
def aim(space, tree, slot, level, most):
    """Set the target: the vertex, pushed along all of its edges into the cell by ``most``.

    False where no push is possible.
    """
    t, basic, nonbasic = tree.t, tree.basic, tree.nonbasic
    n, d, k = tree.frame[slot, SIZE], tree.cursor[COLUMNS], space.rank
    opened, opened_end = k + level, k + tree.bits.size
    push = tree.push
    for i in range(n):
        push[i] = 0.0
    size = tree.trial
    for c in range(d):
        size[c] = 1.0 if nonbasic[slot, c] < k else 0.0
    for i in range(1, n):
        if 0 <= basic[slot, i] < k:
            for c in range(d):
                size[c] = max(size[c], abs(t[slot, i, c + 1]))
    for c in range(d):
        size[c] = 1.0 / max(size[c], 1e-9)
    limit, longest = np.inf, 0.0
    for i in range(1, n):
        label = basic[slot, i]
        if label < 0 or opened <= label < opened_end:
            continue
        for c in range(d):
            push[i] += t[slot, i, c + 1] * size[c]
        if push[i] < 0.0:
            limit = min(limit, max(t[slot, i, 0], 0.0) / -push[i])
        if label < k:
            longest = max(longest, abs(push[i]))
    for c in range(d):
        if nonbasic[slot, c] < k:
            longest = max(longest, size[c])
    step = min(0.4 * limit, most / max(longest, 1e-300))
    target = tree.target
    for i in range(space.rank):
        target[i] = 0.01 * min(step * longest, 1.0) * space.lower[i] if tree.negative[i] else 0.0
    for c in range(d):
        label = nonbasic[slot, c]
        if label < k:
            target[tree.column[label]] = step * size[c]
    for i in range(1, n):
        if 0 <= basic[slot, i] < k:
            target[tree.column[basic[slot, i]]] = t[slot, i, 0] + step * push[i]
    for c in range(d):
        i = tree.column[c]
        target[i] = tree.base[c] + tree.scale[c] * target[i]
    return step > 0.0


@borrowing
def search(space, tree, slot, first, tolerance, anchored):
    """Put two targets to the oracle: near the vertex, and near the anchor or farther inside."""
    level, warm = tree.frame[slot, LEVEL], tree.frame[slot, WARM] > 0
    if not aim(space, tree, slot, level, _PUSH):
        return _UNDECIDED
    if warm:
        begin(space, tree)
        found = ask(space, tree, slot, first, tolerance)
        if found != _UNDECIDED:
            return found
    if anchored and cross_over(space, tree, slot, level):
        begin(space, tree)
        found = ask(space, tree, slot, first, tolerance)
        if found != _CUT:
            return found
        aim(space, tree, slot, level, _PUSH)  # what excludes the point halfway may exclude this one
        return ask(space, tree, slot, first, tolerance)
    if warm:
        aim(space, tree, slot, level, _LONG_PUSH)
    begin(space, tree)
    return ask(space, tree, slot, first, tolerance)


@borrowing
def cross_over(space, tree, slot, level):
    """Move the target towards the anchor, as far as a little inside the node's own hyperplane.

    The anchor lies in the parent and in the zonotope, so that such a point is likelier to be in it
    than the vertex.
    """
    d, line = tree.cursor[COLUMNS], tree.origin[space.rank + level - 1]
    here, there = line[0], line[0]
    for c in range(d):
        y = (tree.target[tree.column[c]] - tree.base[c]) / tree.scale[c]
        here += line[c + 1] * y
        there += line[c + 1] * tree.seen[slot, c]
    if tree.bits[level - 1] == 0:
        here, there = -here, -there
    if here <= 0.0 or there >= here:
        return False
    part = min(max(-there, 0.0) / (here - there), 1.0)
    part += _BEYOND * (1.0 - part)
    for c in range(d):
        i = tree.column[c]
        anchor = tree.base[c] + tree.scale[c] * tree.seen[slot, c]
        tree.target[i] = anchor + part * (tree.target[i] - anchor)
    return True


@borrowing
def begin(space, tree):
    """Start the oracle where the dual value is largest.

    That is at one of the latest answers for other nodes, or at what would be the answer if the box
    had no sides.
    """
    starts, u, target, centre = tree.starts, tree.u, tree.target, space.centre
    best, value = -1, -np.inf
    for a in range(min(tree.cursor[STARTS], MOST_STARTS)):
        other = -starts.cost[a]
        for i in range(space.rank):
            other += starts.u[a, i] * (target[i] - centre[i])
        if other > value:
            best, value = a, other
    for i in range(space.rank):
        u[i] = 0.0
        for j in range(space.rank):
            gap = target[j] - centre[j]
            if not tree.negative[j] or gap < 0.0:
                u[i] += space.inverse[i, j] * gap
        if tree.negative[i] and u[i] > 0.0:
            u[i] = 0.0
    bound = 0.0  # of the value there: H(s) is at most s^2 / 2
    for i in range(space.rank):
        bound += u[i] * (target[i] - centre[i])
        for j in range(space.rank):
            bound -= 0.5 * u[i] * space.gram[i, j] * u[j]
    if best < 0 or not value >= bound:
        evaluate(space.W, centre, u, target, tree.s, tree.delta, tree.z)
        return
    assign(u, starts.u[best])
    assign(tree.s, starts.s[best])
    assign(tree.z, starts.z[best])
    assign(tree.curvature.inside_words, starts.inside[best])
    for i in range(u.size):
        assign(tree.curvature.total[i], starts.total[best, i])


@borrowing
def keep(tree, slot, cost):
    """Keep an answer for the node's children, and as a start for others; the eldest makes room."""
    assign(tree.pull[slot], tree.u)
    tree.frame[slot, WARM] = 1
    starts, at = tree.starts, tree.cursor[STARTS] % MOST_STARTS
    assign(starts.u[at], tree.u)
    assign(starts.s[at], tree.s)
    assign(starts.z[at], tree.z)
    starts.cost[at] = cost
    assign(starts.inside[at], tree.curvature.inside_words)
    for i in range(tree.u.size):
        assign(starts.total[at, i], tree.curvature.total[i])
    tree.cursor[STARTS] += 1


# sizes: kernel, one loop
@borrowing
def ask(space, tree, slot, first, tolerance):
    """Look for an input that shows that the node is alive, or a proof that the target is outside.

    Starts from ``u``, ``s`` and ``z``. A witness is written to ``seen[slot]`` and ``pull[slot]``; a
    proof is left in ``u`` and ``s``.
    """
    u, target, W, centre = tree.u, tree.target, space.W, space.centre
    value, lift, support = weigh(centre, u, target, tree.s, tree.delta)
    damping = _DAMPING
    for _ in range(_STEPS):
        if holds(space, tree, slot, first, tolerance):
            keep(tree, slot, lift - value)
            return _WITNESS
        if outside(space, tree, lift, support):
            # Steps carry s along: a proof takes it afresh.
            value, lift, support = evaluate(W, centre, u, target, tree.s, tree.delta, tree.z)
            if outside(space, tree, lift, support):
                keep(tree, slot, lift - value)
                return _CUT
        elif lift > support:
            value, lift = ask_less(tree, value, lift, support)
        # fmt: off
        newton(W, target, tree.negative, u, tree.s, tree.z, tree.curvature, tree.du, damping)
        found, up, reach = climb(
            W, centre, target, tree.negative, u, tree.du, tree.s, tree.ds, tree.delta, tree.z
        )
        # fmt: on
        if found > -np.inf:
            value, lift, support = found, up, reach
            damping = max(damping * 0.1, _DAMPING)
        elif damping >= 1.0:
            break
        else:
            damping = max(damping * 1e3, 1e-4)
    return _UNDECIDED


@borrowing
def ask_less(tree, value, lift, support):
    """Ask less of the negative rows: the target is outside, but only because of what they ask.

    Goes half as far as where ``u`` shows it no more; returns the value and the lift there.
    """
    u, target, negative = tree.u, tree.target, tree.negative
    pulled = 0.0
    for i in range(u.size):
        if negative[i]:
            pulled += u[i] * target[i]
    if not pulled > 0.0:
        return value, lift
    part = 0.5 * min(max(1.0 - (lift - support) / pulled, 0.0), 1.0)
    for i in range(u.size):
        if negative[i]:
            target[i] *= part
    return value - (1.0 - part) * pulled, lift - (1.0 - part) * pulled


@borrowing
def outside(space, tree, lift, support):
    """Tell whether ``u`` proves that the target is outside of Z, with the negative rows free."""
    for i in range(space.rank):
        if tree.negative[i]:  # only the pulled coordinates count
            lift -= tree.u[i] * tree.target[i]
    return lift > support * (1.0 + 1e-9) + 2.0 * slack(tree.u, space.absolute, tree.s.size + 64)


@borrowing
def holds(space, tree, slot, first, tolerance):
    """Tell whether the point ``z`` lies strictly inside the node, and keep it if it does.

    The comparisons are such that no NaN passes.
    """
    for i in range(space.rank):
        if tree.negative[i] and not tree.z[i] < -tolerance * space.length[i]:
            return False
    d, k, y = tree.cursor[COLUMNS], space.rank, tree.trial
    for c in range(d):
        gap = tree.z[tree.column[c]] - tree.base[c]
        y[c] = gap / tree.scale[c]
        reach = y[c] * abs(tree.scale[c])
        if space.apex and not reach > tolerance * space.length[tree.column[c]]:
            return False
    for j in range(first, tree.frame[slot, LEVEL]):
        if tree.settled[j] >= 0:
            continue
        value = tree.origin[k + j, 0]
        for c in range(d):
            value += tree.origin[k + j, c + 1] * y[c]
        if tree.bits[j]:
            if not value > tolerance:
                return False
        elif not value < -tolerance:
            return False
    for c in range(d):
        tree.seen[slot, c] = y[c]
    return True


@borrowing
def store(space, tree, label):
    """Write the proof that is in ``u`` as a cut: a function that is >= 0 on all of Z.

    Rows of which only ``z <= 0`` is asked have ``u <= 0``; leaving them out only weakens it.
    """
    u, line, d = tree.u, tree.origin[label], tree.cursor[COLUMNS]
    total = slack(u, space.absolute, tree.s.size + 64)
    for j in range(tree.s.size):
        total += 0.5 * abs(tree.s[j])
    for i in range(space.rank):
        total += u[i] * space.centre[i]
    line[:] = 0.0
    norm = 0.0
    for c in range(d):
        pull = u[tree.column[c]]
        total -= pull * tree.base[c]
        line[c + 1] = -pull * tree.scale[c]
    for a in range(d):
        for b in range(d):
            norm += line[a + 1] * line[b + 1] * tree.gram[a, b]
    norm = np.sqrt(max(norm, 1e-300))
    line[0] = total / norm
    for c in range(d):
        line[c + 1] /= norm


# sizes: kernel, one search
@borrowing
def interior(space, tree, slot, first, tolerance, points, at):
    """Write an input strictly inside a leaf into ``points[at]``; False if none was found.

    The witness may lie on the box's border; it is moved towards the middle, as far as is best for
    the smallest margin.
    """
    frame, d, k = tree.frame, tree.cursor[COLUMNS], space.rank
    known = frame[slot, CERTIFICATE] == BY_WITNESS and frame[slot, WARM] > 0
    if known:
        assign(tree.u, tree.pull[slot])
        # fmt: off
        evaluate(
            space.W, space.centre, tree.u, tree.target, tree.s, tree.delta, tree.z
        )
        # fmt: on
        known = holds(space, tree, slot, first, tolerance)
    if not known:
        if not aim(space, tree, slot, frame[slot, LEVEL], _PUSH):
            return False
        begin(space, tree)
        if ask(space, tree, slot, first, tolerance) != _WITNESS:
            return False
    best, share = 0.0, 0.0
    theta = 0.5
    for _ in range(50):
        least = 0.5 * theta
        for i in range(space.rank):
            if tree.negative[i]:
                gap = (1.0 - theta) * tree.z[i] + theta * space.centre[i]
                least = min(least, -gap / space.length[i])
        for c in range(d):
            i = tree.column[c]
            if space.apex:
                gap = (1.0 - theta) * tree.z[i] + theta * space.centre[i]
                sign = 1.0 if tree.scale[c] > 0 else -1.0
                least = min(least, sign * gap / space.length[i])
        for j in range(first, frame[slot, LEVEL]):
            if tree.settled[j] < 0:
                value = tree.origin[k + j, 0]
                for c in range(d):
                    i = tree.column[c]
                    z = (1.0 - theta) * tree.z[i] + theta * space.centre[i]
                    value += tree.origin[k + j, c + 1] * (z - tree.base[c]) / tree.scale[c]
                least = min(least, value if tree.bits[j] else -value)
        if least > best:
            best, share = least, theta
        theta *= 0.5
    for j in range(points.shape[1]):
        points[at, j] = 0.5 + (1.0 - share) * tree.delta[j]
    return share > 0.0
