"""``python -m byways.cli`` is ``byways``."""

from __future__ import annotations

import sys

from byways.cli import main

if __name__ == "__main__":
    sys.exit(main())
