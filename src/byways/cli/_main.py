"""The entry point: arguments in, exit code out."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from typing import TYPE_CHECKING

from cyclopts import App, CoercionError, CycloptsError, UnusedCliTokensError

from byways.cli._errors import COMPLETE, ERROR, MISUSE, PARTIAL, Misuse, explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["main"]

_EPILOGUE = """\
Try it: byways regions --example digits --run-dir runs/digits

Exit codes: 0 complete, 1 error, 2 misuse, 3 partial (a limit or Ctrl-C).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The words after the program's name; by default those of this process.

    Returns:
        The exit code: 0 complete, 1 error, 2 misuse, 3 partial.

    Example:
        >>> main(["regions", "--exampel", "tent"])
        2
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with _term_as_interrupt(), warnings.catch_warnings():
            warnings.showwarning = _warn
            code = _run(words)
            sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        code = COMPLETE
    except KeyboardInterrupt:
        _complain("interrupted; a run directory keeps what was finished, see byways resume --help")
        code = PARTIAL
    return code


def _run(words: list[str]) -> int:
    """Run a command and turn what it raises into an exit code."""
    try:
        outcome = _app()(
            words,
            exit_on_error=False,
            print_error=False,
            verbose=False,
            result_action="return_value",
        )
    except BrokenPipeError:
        raise
    except (CycloptsError, Misuse) as error:
        return _fail(error, MISUSE, words)
    except Exception as error:  # the last stop: a person reads one line, not a traceback
        return _fail(error, ERROR, words)
    return outcome if isinstance(outcome, int) else COMPLETE


def _app() -> App:
    """Put the commands together."""
    from byways import __version__
    from byways.cli._check import EPILOGUE as CHECK_EPILOGUE
    from byways.cli._check import check
    from byways.cli._count import count
    from byways.cli._order import bench_sparse, order
    from byways.cli._regions import EPILOGUE, regions
    from byways.cli._report import report
    from byways.cli._resume import resume
    from byways.cli._worker import EPILOGUE as WORKER_EPILOGUE
    from byways.cli._worker import worker

    app = App(
        name="byways",
        help="Other ways to run a neural network: activation regions, orders of edges.",
        help_format="plaintext",
        help_epilogue=_EPILOGUE,
        version=__version__,
    )
    app.command(regions, help_epilogue=EPILOGUE, sort_key=1)
    app.command(count, help_epilogue="Example: byways count --example tent", sort_key=2)
    app.command(resume, help_epilogue="Example: byways resume runs/digits --workers 2", sort_key=3)
    app.command(report, help_epilogue="Example: byways report runs/digits --json", sort_key=4)
    app.command(worker, help_epilogue=WORKER_EPILOGUE, sort_key=5)
    app.command(order, help_epilogue="Example: byways order --example digits --report", sort_key=6)
    app.command(
        bench_sparse,
        name="bench-sparse",
        help_epilogue="Example: byways bench-sparse net.onnx --batch 256",
        sort_key=7,
    )
    app.command(check, help_epilogue=CHECK_EPILOGUE, sort_key=8)
    return app


def _fail(error: Exception, code: int, words: Sequence[str]) -> int:
    """Say what went wrong, on standard error."""
    if "--debug" in words:
        traceback.print_exception(error)
    text = _reword(error) if isinstance(error, CycloptsError) else explain(error)
    if isinstance(error, CycloptsError):
        command = next((word for word in words if not word.startswith("-")), "")
        known = command in set(_app())
        text += f" See: byways {command + ' ' if known else ''}--help"
    elif code == ERROR and not _is_expected(error):
        text = f"{type(error).__name__}: {text} (this should not happen; --debug shows where)"
    _complain(text)
    return code


def _reword(error: CycloptsError) -> str:
    """Say what the parser says, in our manner where it leaves out what to do."""
    kinds = {int: "a whole number", float: "a number"}
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{error.unused_tokens[0]!r} was not expected here; leave it out."
    if isinstance(error, CoercionError) and error.token is not None and error.target_type in kinds:
        wanted = kinds[error.target_type]
        return f"{error.token.keyword} was {error.token.value!r}; give {wanted}."
    return explain(error)


def _is_expected(error: Exception) -> bool:
    """Tell whether the library raises such an error on purpose."""
    from byways.core.errors import BywaysError

    return isinstance(error, BywaysError | OSError | ValueError | MemoryError)


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"byways: {text}", file=sys.stderr)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning as one of our own lines, without the place in the code."""
    _complain(f"warning: {' '.join(str(message).split())}")


def _forget_stdout() -> None:
    """Let the interpreter's last flush go nowhere: whoever read us has seen enough."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _term_as_interrupt() -> Iterator[None]:
    """Make SIGTERM raise ``KeyboardInterrupt``, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
