"""The command line: ``byways regions``, ``count``, ``resume`` and ``report``.

Importing this package loads no numerics, so that asking for help is quick; each command imports
what it needs when it is called.
"""

from __future__ import annotations

from byways.cli._main import main

__all__ = ["main"]
