"""Claims about byways.parallel: scans, chains of layers, samplers, training of recurrent modules.

Usage: python benchmarks/parallel.py [--quick] [--only NAME] [--json FILE]

CPU seconds of one thread. Both sides of a row run in this process, in turns.
"""

from __future__ import annotations

import sys

from _parallel_recurrent import RECURRENT
from _parallel_scans import SCANS
from _ratio import main

if __name__ == "__main__":
    sys.exit(main(__doc__.partition("\n")[0], {**SCANS, **RECURRENT}))
