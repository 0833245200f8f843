"""Files to be written: refused before the work that they are for, and not after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from byways.cli._errors import Misuse
from byways.core.optional import require
from byways.core.plotting import new_axes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_room", "require_picture"]


def make_room(path: Path, option: str) -> None:
    """Make the folder of a file, which fails now or never.

    Raises:
        Misuse: If the path is a folder itself.
    """
    if path.is_dir():
        raise Misuse(f"{option} was {str(path)!r}, which is a directory; name a file")
    path.parent.mkdir(parents=True, exist_ok=True)


def require_picture(path: Path) -> None:
    """Refuse a file that is no picture by its ending.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
        Misuse: With the endings that there are.
    """
    require("matplotlib", extra="plot", purpose="--plot")
    figure: Any = new_axes().figure
    endings = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix.lstrip(".").lower() not in endings:
        raise Misuse(f"--plot was {str(path)!r}; its ending must be one of {', '.join(endings)}")
