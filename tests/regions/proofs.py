"""Proofs with something changed, for tests of the checker."""

from __future__ import annotations

import dataclasses
from typing import Any

from byways.regions._proof import Proof


def altered(proof: Proof, **parts: Any) -> Proof:
    """Change parts of a proof and seal it again, so that its facts alone can give it away."""
    return dataclasses.replace(proof, **parts).sealed()
