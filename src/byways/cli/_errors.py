"""What goes wrong, said in the words of the command line."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COMPLETE", "ERROR", "MISUSE", "PARTIAL", "Misuse", "as_misuse", "explain", "in_options"]

COMPLETE, ERROR, MISUSE, PARTIAL = range(4)

_OPTIONS = (
    "max_regions", "time_limit", "run_dir", "input_shape", "tolerance", "workers", "method",
    "solver", "maxima", "exact", "eps", "clip", "queue", "lease", "idle", "max_steps",
)  # fmt: skip
_PHRASES = (
    (r"Box\.around\(x, eps\)", "--around FILE --eps E"),
    (r"a (?:byways\.regions\.)?Slice with two directions", "--slice FILE with two directions"),
    (r"WholeSpace\(d\)", "--whole-space"),
    (r"None for all cores", '"all" for all cores'),
    (r", or None\b", ""),
    (r'\b(method|maxima|exact)="(\w+)"', r"--\1 \2"),
    (r'"network"', "NETWORK"),
    (r'"(domain|points)"', r"the \1"),
    (r'"path"', "the file"),
    (r'"rng"', "--seed"),
)


class Misuse(Exception):  # noqa: N818  it is the command that is wrong, not the program
    """A command line that asks for something that cannot be asked for."""


def in_options(text: str) -> str:
    """Restate a message of the library, which speaks of arguments, in options.

    >>> in_options('"max_regions" was 0; give a positive integer, or None')
    '--max-regions was 0; give a positive integer'
    """
    for pattern, option in _PHRASES:
        text = re.sub(pattern, option, text)
    text = re.sub(r"np\.float64\(([^()]*)\)", r"\1", text)
    for name in _OPTIONS:
        option = "--" + name.replace("_", "-")
        text = re.sub(rf'"{name}"', option, text)
        if "_" in name:
            text = re.sub(rf"(?<![\w-]){name}\b", option, text)
    return text


@contextlib.contextmanager
def as_misuse() -> Iterator[None]:
    """Turn the library's complaint about a value into one about the command line.

    Raises:
        Misuse: In place of a ``ValueError`` or ``TypeError``.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        raise Misuse(explain(error)) from error


def explain(error: BaseException) -> str:
    """Say in one line what is wrong."""
    if isinstance(error, OSError) and error.strerror:
        place = f": {str(error.filename)!r}" if error.filename is not None else ""
        return f"{error.strerror.lower()}{place}"
    text = " ".join(str(error).split())
    return in_options(text) if text else type(error).__name__
