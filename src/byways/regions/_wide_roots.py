"""Where walks over wide problems start: a first-layer cell around the apex, or the whole hull."""

from __future__ import annotations

import numpy as np

from byways.core.compiled import borrowing
from byways.regions._wide_oracle import evaluate
from byways.regions._wide_tree import (
    AGE,
    AT_VERTEX,
    BY_WITNESS,
    CEILING,
    CERTIFICATE,
    COLUMNS,
    CURRENT,
    CUTS,
    FORCED,
    GRANTED,
    LEVEL,
    ROOT,
    SIZE,
    SPARE,
    STAGE,
    STARTS,
    UNUSED,
    WARM,
)

__all__ = ["plant_root"]


# sizes: kernel, the layout of a root
@borrowing
def plant_root(net, space, tree):
    """Put the next first-layer cell, or without an apex the whole hull, into a dictionary."""
    cursor, bits, k = tree.cursor, tree.bits, space.rank
    roots = 1 << tree.varying.size
    end = net.decision_start[1] if space.apex else 0
    if cursor[ROOT] == roots:
        return False
    for i in range(end):
        bits[i] = tree.prefix[i] if i < cursor[FORCED] else max(tree.settled[i], 0)
        if i < cursor[FORCED] and tree.settled[i] >= 0 and tree.settled[i] != bits[i]:
            cursor[ROOT] = roots
            return False
    for i in range(tree.varying.size):
        bits[tree.varying[i]] = (cursor[ROOT] >> (tree.varying.size - 1 - i)) & 1
    cursor[ROOT] += 1
    cursor[SPARE] -= 1
    slot = tree.stack[UNUSED, cursor[SPARE]]
    cursor[CURRENT] = slot
    d = 0
    for i in range(k):
        above = space.apex and bits[space.decision[i]] == 1
        tree.negative[i] = space.apex and not above and not space.bends[i]
        if tree.negative[i]:
            continue
        tree.column[d] = i
        if space.apex:
            tree.base[d] = 0.0
            tree.scale[d] = space.outer[1, i] if above else -space.outer[0, i]
        else:
            tree.base[d] = space.lower[i]
            tree.scale[d] = space.upper[i] - space.lower[i]
        d += 1
    cursor[COLUMNS] = d
    lay_out(space, tree, slot)
    frame = tree.frame
    frame[slot, SIZE], frame[slot, LEVEL], frame[slot, AGE] = 1, end, 0
    frame[slot, STAGE], frame[slot, WARM] = 0, 0
    frame[slot, CERTIFICATE] = AT_VERTEX if space.apex else BY_WITNESS
    if end < cursor[FORCED]:
        frame[slot, CERTIFICATE] = GRANTED
    tree.mass[slot] = 1.0 / roots
    return True


@borrowing
def lay_out(space, tree, slot):
    """Write coordinates, the gauge, its ceiling, and the first cuts of a root."""
    cursor, k, d = tree.cursor, space.rank, tree.cursor[COLUMNS]
    cursor[CUTS], cursor[STARTS] = 0, 0
    for c in range(d):
        for e in range(d):
            scale = tree.scale[c] * tree.scale[e]
            tree.gram[c, e] = space.gram[tree.column[c], tree.column[e]] / scale
        tree.origin[c] = 0.0
        tree.origin[c, c + 1] = 1.0
        tree.nonbasic[slot, c] = c
        for unit in range(space.rows.shape[0]):
            tree.maps[c + 1, unit] = space.rows[unit, 1 + tree.column[c]] * tree.scale[c]
    for unit in range(space.rows.shape[0]):
        tree.maps[0, unit] = space.rows[unit, 0]
        for c in range(d):
            tree.maps[0, unit] += space.rows[unit, 1 + tree.column[c]] * tree.base[c]
    tree.t[slot, 0] = 0.0
    tree.t[slot, 0, 1 : d + 1] = 1.0
    tree.basic[slot, 0] = -2
    tree.number[CEILING] = np.inf
    if space.apex:
        tree.u[:] = 0.0
        lift = 0.0
        for c in range(d):
            tree.u[tree.column[c]] = 1.0 / tree.scale[c]
            lift += space.centre[tree.column[c]] / tree.scale[c]
        # fmt: off
        _, _, support = evaluate(
            space.W, space.centre, tree.u, space.centre, tree.s, tree.delta, tree.z
        )
        # fmt: on
        tree.number[CEILING] = (support + lift) * (1.0 + 1e-9) + 1e-9
        return
    for c in range(d):
        line = tree.origin[k + tree.bits.size + c]
        line[:] = 0.0
        size = tree.scale[c] / space.length[tree.column[c]]
        line[0], line[c + 1] = size * (1.0 + 1e-14), -size
        tree.seen[slot, c] = (space.centre[tree.column[c]] - tree.base[c]) / tree.scale[c]
    cursor[CUTS] = d
