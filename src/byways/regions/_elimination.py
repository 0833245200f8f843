"""Small linear systems, solved in place: dictionaries are computed afresh from their labels."""

from __future__ import annotations

from byways.core.compiled import borrowing

__all__ = ["eliminate"]


@borrowing
def eliminate(system, unknowns, width, smallest):
    """Solve ``A X = B``, where ``[A | B]`` is the first ``width`` columns of the first rows.

    Gauss-Jordan elimination with row exchanges: ``X`` takes the place of ``B``. Returns False, with
    the system half done, at a pivot below ``smallest``.
    """
    for j in range(unknowns):
        best = j
        for i in range(j + 1, unknowns):
            if abs(system[i, j]) > abs(system[best, j]):
                best = i
        if abs(system[best, j]) < smallest:
            return False
        inverse = 1.0 / system[best, j]
        for c in range(j, width):
            value = system[best, c] * inverse
            system[best, c] = system[j, c]
            system[j, c] = value
        for i in range(unknowns):
            a = system[i, j] if i != j else 0.0
            if a == 0.0:
                continue
            for c in range(j, width):
                system[i, c] -= a * system[j, c]
    return True
