"""A proof knows its own digest: whoever changes a number is noticed, whatever it proves then."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byways.core.chain import LayerChain
from byways.networks import random_network
from byways.regions import RegionReport, check_proof, enumerate_regions
from byways.regions._proof import Proof

SQUARE = (-1.0, 1.0)


@pytest.fixture(scope="module")
def case() -> tuple[LayerChain, RegionReport]:
    chain = random_network((2, 5, 4, 1), rng=1)
    return chain, enumerate_regions(chain, SQUARE, exact="certified")


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_changed_number_breaks_the_seal(
    case: tuple[LayerChain, RegionReport], data: st.DataObject
) -> None:
    chain, report = case
    proof = report.proof()
    name = data.draw(st.sampled_from(["value", "row", "points", "decision", "kept", "start"]))
    array = getattr(proof, name).copy()
    i = data.draw(st.integers(0, array.size - 1))
    array.flat[i] = np.nextafter(array.flat[i], 9) if array.dtype == float else array.flat[i] + 1
    changed = dataclasses.replace(proof, **{name: array})
    assert "changed after it was made" in check_proof(chain, SQUARE, changed).reason


def test_one_multiplier_changed_by_a_rounding(case: tuple[LayerChain, RegionReport]) -> None:
    """Sealed again it is another proof: of the same list, if it is one."""
    chain, report = case
    proof = report.proof()
    for i in range(0, len(proof.value), 3):
        value = proof.value.copy()
        value[i] = np.nextafter(value[i], np.inf)
        changed = dataclasses.replace(proof, value=value)
        assert "changed after it was made" in check_proof(chain, SQUARE, changed).reason
        check = check_proof(chain, SQUARE, changed.sealed())
        assert not check or (check.signs == report.signs).all()


def test_proofs_of_before_there_were_seals(case: tuple[LayerChain, RegionReport]) -> None:
    chain, report = case
    arrays = report.proof().arrays()
    del arrays["seal"]
    old = Proof.from_arrays(arrays)
    assert old.seal == report.proof().seal == old.digest()
    assert check_proof(chain, SQUARE, old)


def test_reports_keep_the_seal(case: tuple[LayerChain, RegionReport], tmp_path: Path) -> None:
    _, report = case
    report.save(tmp_path / "report.npz")
    kept = RegionReport.load(tmp_path / "report.npz").certificate
    assert kept is not None
    assert kept.seal == report.proof().seal
