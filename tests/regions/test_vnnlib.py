"""Reading VNN-LIB properties."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from byways.core.errors import ConversionError
from byways.regions._vnnlib import parse_vnnlib, read_vnnlib

DECLARED = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"
BOXED = (
    DECLARED
    + "(assert (>= X_0 -1)) (assert (<= X_0 1))\n(assert (>= X_1 0)) (assert (<= X_1 .5))\n"
)


def test_a_box_and_an_inequality():
    found = parse_vnnlib(BOXED + "(assert (<= Y_0 0.25)) ; unsafe below a quarter")
    assert (found.inputs, found.outputs, len(found.cases)) == (2, 1, 1)
    (case,) = found.cases
    np.testing.assert_array_equal([case.lower, case.upper], [[-1.0, 0.0], [1.0, 0.5]])
    np.testing.assert_array_equal(case.B, [[1.0]])
    np.testing.assert_array_equal(case.c, [0.25])
    np.testing.assert_allclose(case.slack(np.zeros(2), np.array([[0.0], [1.0]])), [0.25, -0.75])


def test_linear_arithmetic():
    text = BOXED + "(assert (>= (+ (* 2 Y_0) (- X_0) (/ X_1 4) 1e-1) (- (* Y_0 (/ 1 2)) 3 X_0)))"
    (case,) = parse_vnnlib(text).cases
    # 2 y - x0 + x1/4 + 0.1 >= y/2 - 3 - x0, that is -1.5 y - 0.25 x1 <= 3.1
    np.testing.assert_allclose(case.A, [[0.0, -0.25]])
    np.testing.assert_allclose(case.B, [[-1.5]])
    np.testing.assert_allclose(case.c, [3.1])


def test_disjunctions_multiply():
    text = DECLARED + (
        "(assert (or (and (>= X_0 0) (<= X_0 1)) (and (>= X_0 2) (<= X_0 3))))"
        "(assert (and (= X_1 0.5) (or (<= Y_0 0) (>= Y_0 1))))"
    )
    cases = parse_vnnlib(text).cases
    assert sorted((c.lower[0], c.upper[0], c.B[0, 0], c.c[0]) for c in cases) == [
        (0.0, 1.0, -1.0, -1.0), (0.0, 1.0, 1.0, 0.0), (2.0, 3.0, -1.0, -1.0), (2.0, 3.0, 1.0, 0.0),
    ]  # fmt: skip
    assert all(c.lower[1] == c.upper[1] == 0.5 for c in cases)


def test_bounds_may_be_written_either_way_and_the_tightest_count():
    text = DECLARED + (
        "(assert (<= -1 X_0)) (assert (>= 2 X_0)) (assert (<= (* 2 X_0) 3))"
        "(assert (>= (- X_1) -1)) (assert (>= X_1 0)) (assert (<= Y_0 0))"
    )
    (case,) = parse_vnnlib(text).cases
    np.testing.assert_array_equal([case.lower, case.upper], [[-1.0, 0.0], [1.5, 1.0]])


def test_an_empty_box_is_no_case():
    text = BOXED + "(assert (or (>= X_0 5) (<= Y_0 0)))"
    assert len(parse_vnnlib(text).cases) == 1


def test_a_file_may_be_gzipped(tmp_path: Path):
    text = BOXED + "(assert (<= Y_0 0))"
    (tmp_path / "a.vnnlib").write_text(text)
    (tmp_path / "a.vnnlib.gz").write_bytes(gzip.compress(text.encode()))
    one, other = read_vnnlib(tmp_path / "a.vnnlib"), read_vnnlib(tmp_path / "a.vnnlib.gz")
    np.testing.assert_array_equal(one.cases[0].upper, other.cases[0].upper)


WRONG = {
    "not closed": (DECLARED + "(assert (<= X_0 1)\n", "line 4: '\\(' is never closed"),
    "closed twice": (DECLARED + "(assert (<= X_0 1)))", "line 4: '\\)' closes nothing"),
    "a word": (DECLARED + "\nhello", "line 5: 'hello' stands in the place of a command"),
    "a command": (DECLARED + "(define-fun f)", "line 4: 'define-fun' is not a command"),
    "a name": ("(declare-const Z_0 Real)", r"line 1: give \(declare-const X_0 Real\)"),
    "a sort": ("(declare-const X_0 Int)", r"line 1: give \(declare-const X_0 Real\)"),
    "no name": ("(declare-const)", r"line 1: give \(declare-const X_0 Real\)"),
    "twice": (DECLARED + "(declare-const X_1 Real)", "line 4: X_1 is declared on line 2 already"),
    "unknown": (DECLARED + "(assert (<= X_7 0))", "line 4: X_7 is not declared"),
    "strict": (DECLARED + "(assert (< X_0 0))", "line 4: '<' is not one of <=, >=, =, and, or"),
    "negation": (DECLARED + "(assert (not (<= X_0 0)))", "line 4: 'not' is not one of"),
    "three terms": (DECLARED + "(assert (<= X_0 0 1))", "line 4: <= compares two terms, not 3"),
    "two formulas": (
        DECLARED + "(assert (<= X_0 0) (<= X_0 1))",
        "assert takes one formula, not 2",
    ),
    "no formula": (DECLARED + "(assert (or))", "line 4: or has no formula"),
    "bare formula": (DECLARED + "(assert X_0)", "line 4: 'X_0' stands in the place of a formula"),
    "nameless": (DECLARED + "(assert ((<= X_0 1)))", "line 4: a list without a name stands in"),
    "no number": (DECLARED + "(assert (<= X_0 one))", "line 4: 'one' is neither a variable"),
    "product": (DECLARED + "(assert (<= (* X_0 X_1) 1))", r"line 4: \* is not linear here"),
    "by zero": (DECLARED + "(assert (<= (/ X_0 0) 1))", "line 4: / is not linear here"),
    "power": (DECLARED + "(assert (<= (^ X_0 2) 1))", r"line 4: '\^' with 2 terms is not linear"),
    "gap": (
        "(declare-const X_0 Real)(declare-const X_2 Real)(declare-const Y_0 Real)",
        r"\[0, 2\]",
    ),
    "no outputs": ("(declare-const X_0 Real)", r"declares the outputs Y_i for i in \[\]"),
    "open side": (BOXED.replace("(assert (<= X_0 1))", ""), "gives X_0 no finite lower and upper"),
    "nested": (DECLARED + "(" * 300, "line 4: brackets are nested more than 200 deep"),
    "too many": (
        BOXED + "(assert (or (<= Y_0 0) (>= Y_0 1)))\n" * 20,
        "line 22: the disjunctions multiply to more than 100,000 cases",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_malformed_files_name_the_line(name: str):
    text, message = WRONG[name]
    with pytest.raises(ConversionError, match=message):
        parse_vnnlib(text)


def test_files_that_are_no_text(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_vnnlib(tmp_path / "missing.vnnlib")
    for name, data in {"a": b"\xff\xfe\x00", "b": b"\x1f\x8bbroken"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConversionError, match="is no text"):
            read_vnnlib(tmp_path / name)
