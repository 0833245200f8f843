# sizes: one loop and its parts, which are read together
"""The loop of the engine for wide inputs: which child of a node is alive for free, which is tested.

A node whose vertex is certainly inside the zonotope has the child on its vertex's side for free. A
node known by a witness has the child that holds the witness for free, and no other: its vertex may
lie outside. Everything else is examined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.compiled import borrowing, borrowing_entry, inlined
from byways.regions._net import enter_stage
from byways.regions._problem import NEGLIGIBLE
from byways.regions._wide_dictionary import (
    DOUBT,
    EMPTY,
    FEASIBLE,
    copy,
    dual,
    express,
    prune,
    refresh,
)
from byways.regions._wide_nodes import at_vertex, examine, interior
from byways.regions._wide_program import deepest
from byways.regions._wide_roots import plant_root
from byways.regions._wide_tree import (
    AGE,
    ALIVE,
    AMBIGUOUS,
    ASK,
    AT_VERTEX,
    BIT,
    BY_WITNESS,
    CEILING,
    CERTIFICATE,
    COLUMNS,
    CURRENT,
    CUTS,
    CUTS_BELOW,
    DEAD,
    EXPLORED,
    FORCED,
    GRANTED,
    LEVEL,
    MOST_CUTS,
    NODES,
    NOTHING,
    PENDING,
    PIVOTS,
    POINT,
    SIZE,
    SPARE,
    STAGE,
    STOP,
    TO_VISIT,
    UNRESOLVED,
    UNUSED,
    WARM,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from byways.regions._net import Net
    from byways.regions._wide_space import Space
    from byways.regions._wide_tree import WideTree

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]

__all__ = ["advance", "leave"]

_OLD = 40  # pivots after which a dictionary is computed afresh


# sizes: kernel, the loop that unpacks both tuples once
@borrowing_entry
def advance(
    net: Net,
    space: Space,
    tree: WideTree,
    words: Words,
    points: Array,
    leaves: int,
    work: int,
    tolerance: float,
) -> int:
    """Visit nodes until a limit is reached or the caller is asked; return the leaves met."""
    t, basic, nonbasic, frame, cursor = tree.t, tree.basic, tree.nonbasic, tree.frame, tree.cursor
    bits, settled, stack, mass, origin = tree.bits, tree.settled, tree.stack, tree.mass, tree.origin
    pull, seen, point, column, table = tree.pull, tree.seen, tree.point, tree.column, space.table
    k, ceiling = space.rank, tree.number[CEILING]
    first = net.decision_start[1] if space.apex else 0
    found = 0 * work  # literal numbers, as literal bools, would be compiled for by themselves
    while found < leaves and cursor[NODES] + cursor[PIVOTS] < work and cursor[ASK] == NOTHING:
        if cursor[CURRENT] < 0 and not take_pending(cursor, stack, frame, bits):
            if not plant_root(net, space, tree):
                break
            ceiling = tree.number[CEILING]
        slot = cursor[CURRENT]
        level, certificate = frame[slot, LEVEL], frame[slot, CERTIFICATE]
        if certificate == UNRESOLVED:
            frame[slot, CERTIFICATE] = deepest(space, tree, slot, first, tolerance)
            if frame[slot, CERTIFICATE] == DEAD:
                leave(cursor, tree.stack, tree.number, tree.mass, slot)
            elif frame[slot, CERTIFICATE] == UNRESOLVED:
                cursor[ASK] = ALIVE
                break
            continue
        if certificate == GRANTED and level >= cursor[FORCED]:
            frame[slot, CERTIFICATE] = examine(
                space, tree, slot, first, tolerance, certificate != GRANTED
            )
            if frame[slot, CERTIFICATE] == DEAD:
                leave(cursor, tree.stack, tree.number, tree.mass, slot)
            continue
        if level <= cursor[STOP]:
            arrive(net, space, tree, slot)
        if level >= cursor[STOP]:
            for i in range(cursor[STOP] if words.shape[0] else 0):
                if bits[i]:
                    words[found, i >> 6] |= np.uint64(1) << np.uint64(63 - (i & 63))
            if points.shape[0] and not interior(space, tree, slot, first, tolerance, points, found):
                cursor[ASK] = POINT
            found += 1
            leave(cursor, tree.stack, tree.number, tree.mass, slot)
            continue
        known = 0 if net.follows[level] and bits[level - 1] == 0 else settled[level]
        if known >= 0:
            if level < cursor[FORCED] and tree.prefix[level] != known:
                leave(cursor, tree.stack, tree.number, tree.mass, slot)
                continue
            bits[level] = known
            frame[slot, LEVEL] += 1
            if known != settled[level]:
                close_row(net, tree, slot, level)
            continue
        if frame[slot, AGE] > _OLD:
            # fmt: off
            refresh(
                origin, bits, t, basic, nonbasic, slot, frame[slot, SIZE], cursor[COLUMNS], k,
                k + level, k + bits.size, tree.system, tree.place,
            )
            # fmt: on
            frame[slot, AGE] = 0
        if level < cursor[FORCED]:
            follow(net, space, tree, slot, tolerance)
            continue
        cursor[NODES] += 1
        d, n = cursor[COLUMNS], frame[slot, SIZE]
        row = 1 + level - net.decision_start[frame[slot, STAGE]]
        value = t[slot, row, 0]
        near = 1 if value > 0.0 else 0
        free = free_side(certificate, value, origin, seen, slot, k + level, d, tolerance)
        other = -1
        if not shut(t, slot, row, d, near, value, tolerance):
            cursor[SPARE] -= 1
            other = stack[UNUSED, cursor[SPARE]]
            bits[level] = 1 - near
            front = 1 + net.decision_start[frame[slot, STAGE] + 1]
            front -= net.decision_start[frame[slot, STAGE]]
            # fmt: off
            outcome, pivots, n = cross(
                t, basic, nonbasic, slot, other, n, d, row, near, front, k, level, bits.size,
                ceiling, tolerance,
            )
            # fmt: on
            cursor[PIVOTS] += pivots
            frame[other, SIZE], frame[other, LEVEL] = n, level + 1
            frame[other, AGE] = frame[slot, AGE] + pivots
            frame[other, BIT], frame[other, STAGE] = 1 - near, frame[slot, STAGE]
            frame[other, WARM], frame[other, CUTS_BELOW] = frame[slot, WARM], cursor[CUTS]
            if frame[slot, WARM] > 0:
                for i in range(pull.shape[1]):
                    pull[other, i] = pull[slot, i]
            if outcome == EMPTY and free != 1 - near:
                frame[other, CERTIFICATE] = DEAD
            elif outcome != FEASIBLE:
                frame[other, CERTIFICATE] = UNRESOLVED
            elif free == 1 - near:
                frame[other, CERTIFICATE] = BY_WITNESS
                for c in range(d):
                    seen[other, c] = seen[slot, c]
            else:
                # fmt: off
                sure, _ = at_vertex(
                    t, basic, other, n, d, k, k + level + 1, k + bits.size, tolerance, space.apex,
                    table, column, point,
                )
                # fmt: on
                frame[other, CERTIFICATE] = AT_VERTEX
                if sure < 1:
                    anchor(t, basic, seen, slot, other, frame[slot, SIZE], d, k, certificate)
                    frame[other, CERTIFICATE] = examine(
                        space, tree, other, first, tolerance, certificate != GRANTED
                    )
                    frame[other, CUTS_BELOW] = cursor[CUTS]
            if frame[other, CERTIFICATE] == DEAD:
                stack[UNUSED, cursor[SPARE]] = other
                cursor[SPARE] += 1
                other = -1
        bits[level] = near
        frame[slot, LEVEL] = level + 1
        if near == 0:
            negate(t, slot, row, d)
        if free != near:
            known = certificate == BY_WITNESS
            frame[slot, CERTIFICATE] = examine(space, tree, slot, first, tolerance, known)
        alive = frame[slot, CERTIFICATE] != DEAD
        if other >= 0 and alive:
            mass[slot] *= 0.5
            mass[other] = mass[slot]
            stack[TO_VISIT, cursor[PENDING]] = other
            cursor[PENDING] += 1
        elif other >= 0:
            mass[other] = mass[slot]
            stack[UNUSED, cursor[SPARE]] = slot
            cursor[SPARE] += 1
            cursor[CURRENT] = other
            bits[level] = 1 - near
        elif not alive:
            leave(cursor, stack, tree.number, mass, slot)
    return found


@inlined
def arrive(net, space, tree, slot):
    """Where stages end or begin: count the completed cell and prepare the next stage's rows."""
    cursor, level = tree.cursor, tree.frame[slot, LEVEL]
    for stage in range(tree.counts.size):
        if net.decision_start[stage + 1] == level and (
            level > cursor[FORCED] or cursor[FORCED] == 0
        ):
            tree.counts[stage] += 1
        if net.decision_start[stage] == level and level < cursor[STOP]:
            size = 1.0
            if stage > 0:
                size = enter_stage(net, stage, tree.bits, tree.maps[: cursor[COLUMNS] + 1])
            doubts = stage_rows(net, space, tree, stage, size)
            cursor[AMBIGUOUS] += doubts if level >= cursor[FORCED] else 0  # else counted before
            begin_stage(net, space, tree, slot, stage)


@borrowing
def take_pending(cursor, stack, frame, bits):
    """Make the youngest pending dictionary the current one."""
    if cursor[PENDING] == 0:
        return False
    cursor[PENDING] -= 1
    slot = stack[TO_VISIT, cursor[PENDING]]
    cursor[CURRENT] = slot
    bits[frame[slot, LEVEL] - 1] = frame[slot, BIT]
    if cursor[CUTS] > MOST_CUTS * 3 // 4:  # younger cuts are in no dictionary that is left
        cursor[CUTS] = min(cursor[CUTS], max(frame[slot, CUTS_BELOW], MOST_CUTS // 2))
    return True


@borrowing_entry
def leave(cursor: Ints, stack: Ints, number: Array, mass: Array, slot: int) -> None:
    """Give the current dictionary back; its share of the tree is done."""
    number[EXPLORED] += mass[slot]
    stack[UNUSED, cursor[SPARE]] = slot
    cursor[SPARE] += 1
    cursor[CURRENT] = -1


@inlined
def stage_rows(net, space, tree, stage, size):
    """Write a stage's decisions as functions of the coordinates, of unit gradient over inputs.

    Returns how many constants were too close to zero to be sure of their sign.
    """
    d, k, doubtful = tree.cursor[COLUMNS], space.rank, 0
    for j in range(net.decision_start[stage], net.decision_start[stage + 1]):
        line = tree.origin[k + j]
        line[:] = 0.0
        if stage == 0 and space.settled[j] >= 0:
            continue
        unit = net.unit[j]
        noise = NEGLIGIBLE * size * net.weight_size[unit]
        level = tree.maps[0, unit] - net.threshold[j]
        gradient, most = 0.0, 0.0
        for c in range(d):
            most = max(most, abs(tree.maps[c + 1, unit]))
            for e in range(d):
                gradient += tree.maps[c + 1, unit] * tree.maps[e + 1, unit] * tree.gram[c, e]
        gradient = np.sqrt(max(gradient, 0.0))
        if stage > 0 and most <= noise:
            tree.settled[j] = level > noise
            doubtful += level != 0.0 and abs(level) <= noise
            continue
        tree.settled[j] = -1
        line[0] = level / gradient
        for c in range(d):
            line[c + 1] = tree.maps[c + 1, unit] / gradient
    return doubtful


@borrowing
def begin_stage(net, space, tree, slot, stage):
    """Put the rows of a stage in front, behind them what binds of the stages before."""
    t, basic, frame, k = tree.t, tree.basic, tree.frame, space.rank
    d, n = tree.cursor[COLUMNS], frame[slot, SIZE]
    width = (d + 8) // 8 * 8
    start, end = net.decision_start[stage], net.decision_start[stage + 1]
    opened, opened_end = k + start, k + tree.bits.size
    n = prune(t, basic, slot, n, d, np.int64(1), k, opened, opened_end)
    shift = end - start
    for i in range(n - 1, 0, -1):
        basic[slot, i + shift] = basic[slot, i]
        for c in range(width):
            t[slot, i + shift, c] = t[slot, i, c]
    for j in range(start, end):
        basic[slot, 1 + j - start] = -1
    for j in range(start, end):
        if tree.settled[j] < 0:
            row = 1 + j - start
            express(tree.origin, k + j, 1.0, t, basic, tree.nonbasic, slot, n + shift, d, k, row)
    for j in range(start, end):
        if tree.settled[j] < 0:
            basic[slot, 1 + j - start] = k + j
    frame[slot, SIZE] = n + shift
    frame[slot, STAGE] = stage


@borrowing
def close_row(net, tree, slot, level):
    """Leave out the row of a decision that follows from the one before."""
    row = 1 + level - net.decision_start[tree.frame[slot, STAGE]]
    tree.basic[slot, row] = -1


@borrowing
def negate(t, slot, row, d):
    """Turn a raw row into that of the negative side."""
    for c in range(d + 1):
        t[slot, row, c] = -t[slot, row, c]


@borrowing
def follow(net, space, tree, slot, tolerance):
    """Go to the given side of a decision; its emptiness is not asked for, but may show."""
    t, basic, nonbasic, frame, cursor = tree.t, tree.basic, tree.nonbasic, tree.frame, tree.cursor
    level, d, k = frame[slot, LEVEL], cursor[COLUMNS], space.rank
    row = 1 + level - net.decision_start[frame[slot, STAGE]]
    tree.bits[level] = tree.prefix[level]
    frame[slot, LEVEL] = level + 1
    if tree.prefix[level] == 0:
        negate(t, slot, row, d)
    # fmt: off
    outcome, pivots = dual(
        t, basic, nonbasic, slot, frame[slot, SIZE], d, (d + 8) // 8 * 8, k + level + 1,
        k + tree.bits.size, tree.number[CEILING], tolerance,
    )
    # fmt: on
    cursor[PIVOTS] += pivots
    frame[slot, AGE] += pivots
    if outcome == EMPTY:
        leave(cursor, tree.stack, tree.number, tree.mass, slot)
    elif outcome == DOUBT:
        frame[slot, CERTIFICATE] = UNRESOLVED


@borrowing
def free_side(certificate, value, origin, seen, slot, label, d, tolerance):
    """Give the side of a decision that is alive without a test, or -1.

    That is the side of the vertex only where the vertex itself is certainly inside, else that of
    the witness.
    """
    at = value
    if certificate != AT_VERTEX:
        at = origin[label, 0]
        for c in range(d):
            at += origin[label, c + 1] * seen[slot, c]
    if abs(at) <= tolerance:
        return -1
    return 1 if at > 0.0 else 0


@borrowing
def shut(t, slot, row, d, near, value, tolerance):
    """Tell whether the far side is empty by the row alone: it only grows away from the vertex."""
    if abs(value) <= tolerance:
        return False
    for c in range(1, d + 1):
        if (t[slot, row, c] < -1e-12) if near == 1 else (t[slot, row, c] > 1e-12):
            return False
    return True


@borrowing
def anchor(t, basic, seen, slot, other, n, d, k, certificate):
    """Hand a point of the parent that is certainly inside down to a child."""
    for c in range(d):
        seen[other, c] = 0.0 if certificate == AT_VERTEX else seen[slot, c]
    if certificate == AT_VERTEX:
        for i in range(1, n):
            if 0 <= basic[slot, i] < k:
                seen[other, basic[slot, i]] = t[slot, i, 0]


@borrowing
def cross(
    t, basic, nonbasic, slot, other, n, d, row, near, front, k, level, decisions, ceiling, tolerance
):
    """Copy a dictionary and take the copy to the far side of a decision.

    Returns the outcome of the dual simplex method, its pivots, and the number of rows.
    """
    width = (d + 8) // 8 * 8
    copy(t, basic, nonbasic, slot, other, n, d, width)
    if near == 1:
        negate(t, other, row, d)
    opened, end = k + level + 1, k + decisions
    outcome, pivots = dual(t, basic, nonbasic, other, n, d, width, opened, end, ceiling, tolerance)
    if outcome != EMPTY:
        n = prune(t, basic, other, n, d, front, k, opened, end)
    return outcome, pivots, n
