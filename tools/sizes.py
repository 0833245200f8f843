"""Check that files, functions and nesting stay small enough to read.

A file has at most 400 lines, or 600 where its first line is ``# sizes: <reason>``. A function has
at most 40 lines, its docstring not counted, and at most three blocks inside each other. A compiled
kernel, where calls and splits cost time, may break both function rules if a comment in the line
above it (above its decorators) says why: ``# sizes: kernel, <reason>``.

Usage: python tools/sizes.py [FOLDER_OR_FILE ...]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FILE_LINES_WITH_REASON = 600
FUNCTION_LINES = 40
NESTING = 3
FOLDERS = ("src", "tests", "benchmarks", "examples", "tools", "docs")

_MARK = "# sizes: "
_KERNEL_MARK = "# sizes: kernel, "
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def main(arguments: list[str]) -> int:
    """Report every finding on standard output; the exit status is 1 if there is one."""
    root = Path(__file__).resolve().parent.parent
    roots = [Path(argument) for argument in arguments] or [root / name for name in FOLDERS]
    findings = [finding for path in _python_files(roots) for finding in check_file(path)]
    for finding in findings:
        sys.stdout.write(finding + "\n")
    return 1 if findings else 0


def check_file(path: Path) -> list[str]:
    """List what is too large in one file, as ``path:line: finding``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    limit = FILE_LINES_WITH_REASON if _has_reason(lines, 0, _MARK) else FILE_LINES
    findings = []
    if len(lines) > limit:
        findings.append(f"{path}:1: the file has {len(lines)} lines, at most {limit} are allowed")
    tree = ast.parse("\n".join(lines), filename=str(path))
    for node in ast.walk(tree):
        if isinstance(node, _Function) and not _has_reason(lines, _first_line(node) - 2):
            findings += [f"{path}:{node.lineno}: {text}" for text in _check_function(node)]
    depth = _nesting(tree.body)
    if depth > NESTING:
        findings.append(f"{path}:1: module code is nested {depth} deep, at most {NESTING}")
    return findings


def _python_files(roots: list[Path]) -> Iterator[Path]:
    """Give the files below the roots, without hidden and built folders."""
    for root in roots:
        found = [root] if root.is_file() else sorted(root.rglob("*.py"))
        for path in found:
            parts = path.relative_to(root).parts
            if not any(part == "_build" or part.startswith(("gallery", ".")) for part in parts):
                yield path


def _has_reason(lines: list[str], index: int, mark: str = _KERNEL_MARK) -> bool:
    """Tell whether a line is the given mark followed by some words."""
    if not 0 <= index < len(lines):
        return False
    line = lines[index].strip()
    return line.startswith(mark) and len(line.removeprefix(mark).split()) >= 2


def _first_line(node: _Function) -> int:
    """Give the first line of a function, its decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _check_function(node: _Function) -> Iterator[str]:
    """Give what is too large in one function."""
    length = (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
    if length > FUNCTION_LINES:
        yield (
            f"{node.name} has {length} lines without its docstring, "
            f"at most {FUNCTION_LINES} are allowed"
        )
    depth = _nesting(node.body)
    if depth > NESTING:
        yield f"{node.name} is nested {depth} deep, at most {NESTING} levels are allowed"


def _docstring_lines(node: _Function) -> int:
    """Count the lines of a function's docstring."""
    if ast.get_docstring(node, clean=False) is None:
        return 0
    first = node.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1


def _nesting(body: list[ast.stmt]) -> int:
    """Give how many blocks stand inside each other; an inner function starts from zero."""
    return max((_statement_nesting(statement) for statement in body), default=0)


def _statement_nesting(statement: ast.stmt) -> int:
    """Give the nesting of one statement, itself included if it is a block."""
    if isinstance(statement, ast.ClassDef):
        return _nesting(statement.body)
    if not isinstance(statement, _BLOCKS):
        return 0
    inner = max((_nesting(body) for body in _bodies(statement)), default=0)
    if isinstance(statement, ast.If) and _is_elif(statement):
        return max(1 + inner, _nesting(statement.orelse))
    return 1 + inner


def _bodies(statement: ast.stmt) -> list[list[ast.stmt]]:
    """Give the lists of statements that a block holds; an ``elif`` is no inner block."""
    bodies = [getattr(statement, "body", []), getattr(statement, "finalbody", [])]
    if not (isinstance(statement, ast.If) and _is_elif(statement)):
        bodies.append(getattr(statement, "orelse", []))
    bodies += [handler.body for handler in getattr(statement, "handlers", [])]
    bodies += [case.body for case in getattr(statement, "cases", [])]
    return bodies


def _is_elif(statement: ast.If) -> bool:
    """Tell an ``elif`` from an ``else`` that holds one ``if``: only the latter is indented."""
    if len(statement.orelse) != 1 or not isinstance(statement.orelse[0], ast.If):
        return False
    return statement.orelse[0].col_offset == statement.col_offset


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
