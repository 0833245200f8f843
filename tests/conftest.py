"""Settings for every test."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# No deadline: the first call of a compiled kernel is slow. No database: a failure prints what
# reproduces it, and nothing is left in the checkout. A server tries the same examples each time.
settings.register_profile(
    "byways",
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("server", settings.get_profile("byways"), derandomize=True)
settings.load_profile("server" if os.environ.get("CI") else "byways")

os.environ.setdefault("MPLBACKEND", "Agg")  # no window, also in the processes that tests start

# A shell that starts the suite in the background has Ctrl-C ignored, and the processes that tests
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
