"""The only place that knows which package belongs to which extra."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from byways.core.errors import MissingDependencyError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["available", "require"]

_PROJECT_OF_MODULE = {"z3": "z3-solver", "sklearn": "scikit-learn"}


def available(module: str) -> bool:
    """Tell whether an optional module is installed, without importing it."""
    return importlib.util.find_spec(module) is not None


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module or say how to install it.

    Args:
        module: Import name of a top-level module, for instance ``"z3"``.
        extra: The extra of this package that installs it.
        purpose: What needs it; it starts the message ("Drawing a report").

    Returns:
        The imported module.

    Raises:
        MissingDependencyError: If the module is not installed.
    """
    if not available(module):
        project = _PROJECT_OF_MODULE.get(module, module)
        raise MissingDependencyError(
            f"{purpose} needs the package {project}, which is not installed. "
            f"Install it with: pip install 'byways[{extra}]'"
        )
    return importlib.import_module(module)
