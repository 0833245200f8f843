"""Fixtures of this folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from .devices import DEVICES, Device, Simulation


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """Give each device that is there."""
    name = request.param
    with Simulation() if name == "simulated" else contextlib.nullcontext():
        yield Device(name)
