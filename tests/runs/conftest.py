"""Queues to test with: a folder, and the broker that ``BYWAYS_TEST_AMQP`` names."""

from __future__ import annotations

import os

import pytest

VARIABLE = "BYWAYS_TEST_AMQP"


@pytest.fixture
def broker_url() -> str:
    """The address of a real broker; whoever sets the variable wants these tests to run."""
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} does not name a broker; see tests/runs/broker.py")
    return os.environ[VARIABLE]


@pytest.fixture(params=["folder", "amqp"])
def queue(request: pytest.FixtureRequest) -> str:
    """Each kind of queue."""
    if request.param == "folder":
        return "folder"
    url: str = request.getfixturevalue("broker_url")
    return url
