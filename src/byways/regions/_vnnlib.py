"""Properties in VNN-LIB 1.0: which outputs are unsafe on which inputs.

A file declares inputs ``X_0 ..`` and outputs ``Y_0 ..`` as reals, and asserts linear inequalities
between them, joined by ``and`` and ``or``. Whatever satisfies all assertions is a counterexample.
The assertions are multiplied out into *cases*: a box of inputs and linear inequalities each.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from byways.core.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Case", "Property", "parse_vnnlib", "read_vnnlib"]

_TOKEN = re.compile(r";[^\n]*|[()]|[^\s();]+|\n")
_VARIABLE = re.compile(r"([XY])_(0|[1-9]\d*)")
_MOST_CASES = 100_000
_DEEPEST = 200


class _Node(NamedTuple):
    """A word, or a list of nodes, and the line it begins on."""

    line: int
    value: str | tuple[_Node, ...]


class _Linear(NamedTuple):
    """A sum of variables times numbers, and a number."""

    terms: dict[str, Fraction]
    constant: Fraction


_Atom = _Linear  # that it is <= 0
_Cases = list[list[_Atom]]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Inputs in a box that are unsafe where ``A x + B y <= c`` in every row.

    Attributes:
        lower: Lower sides of the box, shape ``(n_0,)``.
        upper: Upper sides.
        A: Shape ``(m, n_0)``.
        B: Shape ``(m, n_L)``.
        c: Shape ``(m,)``.
    """

    lower: Array
    upper: Array
    A: Array
    B: Array
    c: Array

    def slack(self, x: Array, y: Array) -> Array:
        """Give the least of ``c - A x - B y``, shape ``(...)``: 0 or more is unsafe."""
        rows = self.c - x @ self.A.T - y @ self.B.T
        least: Array = rows.min(axis=-1, initial=np.inf)
        return least


@dataclass(frozen=True, slots=True, eq=False)
class Property:
    """What a file says.

    Attributes:
        source: Its name, for messages.
        inputs: Number of inputs.
        outputs: Number of outputs.
        cases: The ways to be unsafe.
    """

    source: str
    inputs: int
    outputs: int
    cases: tuple[Case, ...]


def read_vnnlib(path: str | Path) -> Property:
    """Read a VNN-LIB file, gzipped or not.

    Raises:
        ConversionError: If it is malformed or not of VNN-LIB 1.0; says on which line.
        FileNotFoundError: If there is no such file.
    """
    file = Path(path)
    label = f"the property {str(file)!r}"
    if not file.is_file():
        raise FileNotFoundError(f"{label} does not exist")
    data = file.read_bytes()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (UnicodeDecodeError, EOFError, OSError) as error:
        raise ConversionError(f"{label} is no text: {error}") from error
    return parse_vnnlib(text, label)


def parse_vnnlib(text: str, source: str = "the property") -> Property:
    """Read a property from text, as ``read_vnnlib`` does from a file."""
    reader = _Reader(source)
    for node in reader.nodes(text):
        reader.command(node)
    return reader.finish()


class _Reader:
    """Goes through a file, command by command."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.declared: dict[str, int] = {}
        self.cases: _Cases = [[]]

    def fail(self, line: int, reason: str) -> NoReturn:
        raise ConversionError(f"{self.source}, line {line}: {reason}")

    def nodes(self, text: str) -> list[_Node]:
        """Parse the brackets."""
        line = 1
        stack: list[tuple[int, list[_Node]]] = []
        found: list[_Node] = []
        for token in _TOKEN.findall(text):
            if token == "\n":
                line += 1
            elif token == "(":
                stack.append((line, found))
                found = []
                if len(stack) > _DEEPEST:
                    self.fail(line, f"brackets are nested more than {_DEEPEST} deep")
            elif token == ")":
                if not stack:
                    self.fail(line, "')' closes nothing")
                begin, outer = stack.pop()
                outer.append(_Node(begin, tuple(found)))
                found = outer
            elif not token.startswith(";"):
                found.append(_Node(line, token))
        if stack:
            self.fail(stack[-1][0], "'(' is never closed")
        return found

    def command(self, node: _Node) -> None:
        """Take a declaration or an assertion."""
        head, arguments = self.split(node, "a command, (declare-const ..) or (assert ..)")
        if head == "declare-const":
            self.declare(node, arguments)
        elif head == "assert":
            if len(arguments) != 1:
                self.fail(node.line, f"assert takes one formula, not {len(arguments)}")
            self.conjoin(self.formula(arguments[0]), node.line)
        elif head not in {"set-logic", "check-sat", "get-model", "exit"}:
            self.fail(node.line, f"{head!r} is not a command of VNN-LIB: declare-const or assert")

    def declare(self, node: _Node, arguments: Sequence[_Node]) -> None:
        """Take ``(declare-const X_0 Real)``."""
        words = [part.value for part in arguments]
        name = words[0] if words else None
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or words[1:] != ["Real"]:
            self.fail(node.line, "give (declare-const X_0 Real), with X_i inputs and Y_j outputs")
        if name in self.declared:
            self.fail(node.line, f"{name} is declared on line {self.declared[name]} already")
        self.declared[name] = node.line

    def conjoin(self, more: _Cases, line: int) -> None:
        """Demand one of some cases on top of what is demanded so far."""
        if len(self.cases) * len(more) > _MOST_CASES:
            self.fail(line, f"the disjunctions multiply to more than {_MOST_CASES:,} cases")
        if len(more) == 1:
            for case in self.cases:
                case.extend(more[0])
        else:
            self.cases = [case + extra for case, extra in product(self.cases, more)]

    def formula(self, node: _Node) -> _Cases:
        """Multiply a formula out into cases."""
        head, arguments = self.split(node, "a formula, such as (<= X_0 1.0)")
        if head in {"<=", ">=", "="}:
            if len(arguments) != 2:
                self.fail(node.line, f"{head} compares two terms, not {len(arguments)}")
            left, right = (self.linear(part) for part in arguments)
            below, above = _sum(left, right, -1), _sum(right, left, -1)
            return [{"<=": [below], ">=": [above], "=": [below, above]}[head]]
        if head == "or":
            if not arguments:
                self.fail(node.line, "or has no formula")
            return [case for part in arguments for case in self.formula(part)]
        if head == "and":
            found: _Cases = [[]]
            for part in arguments:
                more = self.formula(part)
                if len(found) * len(more) > _MOST_CASES:
                    self.fail(node.line, f"this multiplies to more than {_MOST_CASES:,} cases")
                found = [case + extra for case, extra in product(found, more)]
            return found
        self.fail(node.line, f"{head!r} is not one of <=, >=, =, and, or")

    def linear(self, node: _Node) -> _Linear:
        """Read a linear term."""
        if isinstance(node.value, str):
            return self.word(node.line, node.value)
        head, arguments = self.split(node, "a term")
        parts = [self.linear(part) for part in arguments]
        if head == "+" and parts:
            total = parts[0]
            for part in parts[1:]:
                total = _sum(total, part, 1)
            return total
        if head == "-" and parts:
            total = parts[0] if len(parts) > 1 else _sum(_ZERO, parts[0], -1)
            for part in parts[1:]:
                total = _sum(total, part, -1)
            return total
        if head in {"*", "/"} and len(parts) == 2:
            return self.scaled(node.line, head, *parts)
        self.fail(
            node.line, f"{head!r} with {len(parts)} terms is not linear arithmetic: +, -, *, /"
        )

    def scaled(self, line: int, head: str, first: _Linear, second: _Linear) -> _Linear:
        """Multiply or divide by a number."""
        if head == "*" and not first.terms:
            first, second = second, first
        if second.terms or (head == "/" and second.constant == 0):
            self.fail(line, f"{head} is not linear here; one factor must be a number, not zero")
        factor = second.constant if head == "*" else 1 / second.constant
        return _sum(_ZERO, first, factor)

    def word(self, line: int, word: str) -> _Linear:
        """Read a variable or a number."""
        if _VARIABLE.fullmatch(word):
            if word not in self.declared:
                self.fail(line, f"{word} is not declared")
            return _Linear({word: Fraction(1)}, Fraction(0))
        try:
            return _Linear({}, Fraction(word))
        except (ValueError, ZeroDivisionError):
            self.fail(line, f"{word!r} is neither a variable X_i or Y_j nor a number")

    def split(self, node: _Node, wanted: str) -> tuple[str, Sequence[_Node]]:
        """Give the first word of a list and the rest."""
        if (
            isinstance(node.value, str)
            or not node.value
            or not isinstance(node.value[0].value, str)
        ):
            shown = repr(node.value) if isinstance(node.value, str) else "a list without a name"
            self.fail(node.line, f"{shown} stands in the place of {wanted}")
        return node.value[0].value, node.value[1:]

    def finish(self) -> Property:
        """Put the cases together.

        Raises:
            ConversionError: If an input has no bounds, or nothing is asserted of the outputs.
        """
        sizes = {}
        for kind, word in (("X", "input"), ("Y", "output")):
            places = sorted(int(name[2:]) for name in self.declared if name[0] == kind)
            if places != list(range(len(places))) or not places:
                raise ConversionError(
                    f"{self.source} declares the {word}s {kind}_i for i in {places!r}; it must be "
                    "0, 1, 2 and so on, without gaps"
                )
            sizes[kind] = len(places)
        cases = [self.case(atoms, sizes["X"], sizes["Y"]) for atoms in self.cases]
        return Property(
            self.source,
            sizes["X"],
            sizes["Y"],
            tuple(c for c in cases if (c.lower <= c.upper).all()),
        )

    def case(self, atoms: list[_Atom], inputs: int, outputs: int) -> Case:
        """Sort inequalities into sides of the box and others."""
        lower, upper = np.full(inputs, -np.inf), np.full(inputs, np.inf)
        rows = []
        for terms, constant in atoms:
            kept = {name: factor for name, factor in terms.items() if factor}
            if len(kept) == 1 and next(iter(kept))[0] == "X":
                ((name, factor),) = kept.items()
                side, i = float(-constant / factor), int(name[2:])
                if factor > 0:
                    upper[i] = min(upper[i], side)
                else:
                    lower[i] = max(lower[i], side)
            else:
                rows.append((kept, constant))
        if not (np.isfinite(lower) & np.isfinite(upper)).all():
            i = int(np.argmin(np.isfinite(lower) & np.isfinite(upper)))
            raise ConversionError(
                f"{self.source} gives X_{i} no finite lower and upper bound; assert both"
            )
        A, B, c = np.zeros((len(rows), inputs)), np.zeros((len(rows), outputs)), np.zeros(len(rows))
        for r, (kept, constant) in enumerate(rows):
            c[r] = float(-constant)
            for name, factor in kept.items():
                (A if name[0] == "X" else B)[r, int(name[2:])] = float(factor)
        return Case(lower, upper, A, B, c)


_ZERO = _Linear({}, Fraction(0))


def _sum(first: _Linear, second: _Linear, factor: Fraction | int) -> _Linear:
    """Give ``first + factor * second``."""
    terms = dict(first.terms)
    for name, value in second.terms.items():
        terms[name] = terms.get(name, Fraction(0)) + factor * value
    return _Linear(terms, first.constant + factor * second.constant)
