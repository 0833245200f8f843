"""Proofs of a list of regions: what they hold, files, and the door of the checker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from byways.core.errors import ConversionError
from byways.core.exact import integers
from byways.core.files import read_npz, write_npz
from byways.networks import as_chain
from byways.regions._check import RefusedError, check
from byways.regions._domains import WholeSpace, as_domain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from byways.core.chain import LayerChain
    from byways.regions._domains import Domain

    Texts = NDArray[np.str_]

__all__ = ["Proof", "ProofCheck", "check_proof", "domain_digest"]

_FORMAT = "byways.regions.Proof/1"
_MALFORMED = LookupError, ValueError, TypeError, AttributeError, ArithmeticError, StopIteration


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """Why the regions of a list are regions, and why there are no others.

    A binary tree over decisions "is unit i above its breakpoint?", in preorder, with one fact per
    node. Decisions are numbered through the hidden layers, breakpoints of a unit next to each
    other; rows are those of a polytope's inequalities and then those of the decisions. Points have
    the coordinates of the box: inputs, or for a ``Slice`` the coordinates along its directions.

    Attributes:
        network: Digest of the network.
        domain: Digest of the domain.
        decision: Decision of each node, -1 at a leaf.
        kept: -1 where a node splits (side 0 comes first), else the side that it keeps.
        start: Multipliers of refused side ``i`` are those from ``start[i]`` to ``start[i + 1]``.
        row: Row of each multiplier.
        value: The multiplier.
        value_at: Places in ``value`` whose number is a rational that no float is.
        value_exact: Those rationals, as texts ``"p/q"``.
        points: A witness for each leaf.
        point_at: Places in ``points``, flattened, whose number is a rational that no float is.
        point_exact: Those rationals.
        seal: ``digest()`` of the proof as it was made, by which ``check_proof`` notices any change.
            It says who changed nothing, not what is true: that the checker finds out.
    """

    network: str
    domain: str
    decision: NDArray[np.int32]
    kept: NDArray[np.int8]
    start: NDArray[np.int64]
    row: NDArray[np.int32]
    value: NDArray[np.float64]
    value_at: NDArray[np.int64]
    value_exact: Texts
    points: NDArray[np.float64]
    point_at: NDArray[np.int64]
    point_exact: Texts
    seal: str = ""

    @property
    def regions(self) -> int:
        """Number of regions that it speaks of."""
        return len(self.points)

    @property
    def refusals(self) -> int:
        """Number of sides that it refuses."""
        return len(self.start) - 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all parts by name, as the checker and the file hold them."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    def multipliers(self) -> list[list[tuple[int, int]]]:
        """Give rows and multipliers of each refused side, in integers of the same proportions."""
        row, value = self.row.tolist(), self.value.tolist()
        for i, text in zip(self.value_at.tolist(), self.value_exact.tolist(), strict=True):
            value[i] = _fraction(text)
        ends = pairwise(self.start.tolist())
        return [list(zip(row[a:b], integers(value[a:b])[0], strict=True)) for a, b in ends]

    def witnesses(self, leaves: Iterable[int]) -> Iterator[list[Any]]:
        """Give the points of some leaves, as floats and rationals."""
        texts, n = map(_fraction, self.point_exact.tolist()), self.points.shape[1]
        exact = dict(zip(self.point_at.tolist(), texts, strict=True))
        numbers = ((leaf * n, self.points[leaf].tolist()) for leaf in leaves)
        return ([exact.get(i, x) for i, x in enumerate(point, at)] for at, point in numbers)

    def digest(self) -> str:
        """Give a SHA-256 over all parts but the seal."""
        hasher = hashlib.sha256()
        for name, array in self.arrays().items():
            if name != "seal":
                hasher.update(f"{name}{array.dtype.kind}{array.shape}".encode() + array.tobytes())
        return hasher.hexdigest()

    def sealed(self) -> Proof:
        """Give the same proof with its digest in it."""
        return replace(self, seal=self.digest())

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Proof:
        """Undo ``arrays``; proofs of before there were seals get one.

        Raises:
            ConversionError: If a part is missing.
        """
        names = [field.name for field in fields(cls) if field.name != "seal"]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ConversionError(f"the proof lacks {', '.join(missing)}")
        parts: dict[str, Any] = {name: arrays[name] for name in names}
        parts |= {name: str(arrays[name]) for name in ("network", "domain")}
        proof = cls(**parts, seal=str(arrays.get("seal", "")))
        return proof if proof.seal else proof.sealed()

    def save(self, path: str | Path) -> None:
        """Write the proof to a ``.npz`` file, whole or not at all."""
        write_npz(path, {**self.arrays(), "format": np.array(_FORMAT)})

    @classmethod
    def load(cls, path: str | Path) -> Proof:
        """Read a proof that ``save`` wrote. Nothing in the file is executed, or believed.

        Raises:
            ConversionError: If the file is something else or damaged.
        """
        return cls.from_arrays(read_npz(path, _FORMAT))

    def __str__(self) -> str:
        return f"proof of {self.regions:,} regions, with {self.refusals:,} refused sides"


@dataclass(frozen=True, slots=True, eq=False)
class ProofCheck:
    """What the checker found.

    Attributes:
        accepted: Whether the proof proves its list; ``bool(check)`` is the same.
        regions: Number of regions proven, 0 if refused.
        refusals: Number of sides proven empty.
        signs: The proven list: segments of all hidden units, one row per region, sorted.
        winners: What follows for maxima of several numbers, whose matches are units in ``signs``:
            ``network.states(signs)``, each row once. Without such maxima the same as ``signs``.
        reason: Why the proof was refused, and where; empty if accepted.
    """

    accepted: bool
    regions: int
    refusals: int
    signs: NDArray[np.uint8]
    winners: NDArray[np.integer[Any]]
    reason: str = ""

    def __bool__(self) -> bool:
        return self.accepted

    def __str__(self) -> str:
        if not self.accepted:
            return f"refused: {self.reason}"
        found = f"{self.regions:,} regions and no others"
        if self.winners.shape != self.signs.shape:
            found += f", so {len(self.winners):,} of equal winners"
        return f"accepted: {found}; {self.refusals:,} sides proven empty"


def check_proof(network: object, domain: object, proof: Proof | str | Path) -> ProofCheck:
    """Check a proof that a list of regions is complete and right.

    The checker uses no solver and none of the code that enumerates: it goes through the tree and
    multiplies, in integers, so that nothing is rounded. What it accepts are the regions of the
    real-arithmetic function with the network's float64 weights on the domain with its float64
    bounds.

    Args:
        network: As for ``enumerate_regions``.
        domain: As for ``enumerate_regions``.
        proof: What ``report.proof()`` gave, or the file that its ``save`` wrote.

    Returns:
        Whether it is accepted, the proven list, and the reason and place of a refusal. Cost: some
        0.05 ms per region and refused side of a small network, twice that with 784 inputs.

    Raises:
        TypeError: If ``proof`` is something else.
        ConversionError: If the file is no proof.
        DomainError: If the domain does not fit the network.

    Example:
        >>> import byways as bw
        >>> from byways.networks import example
        >>> tent = example("tent").chain
        >>> report = bw.regions.enumerate_regions(tent, (0, 1), exact="certified")
        >>> check = bw.regions.check_proof(tent, (0, 1), report.proof())
        >>> check.accepted, check.regions
        (True, 1024)
        >>> print(bw.regions.check_proof(tent, (0, 2), report.proof()))
        refused: it speaks of another domain...
    """
    if isinstance(proof, str | Path):
        proof = Proof.load(proof)
    if not isinstance(proof, Proof):
        raise TypeError(f'"proof" was {proof!r}; give report.proof(), or the file that it saved')
    chain = as_chain(network)
    checked = as_domain(domain, chain.input_size)
    wanted = {"network": chain.digest(), "domain": domain_digest(checked)}
    for what, digest in wanted.items():
        if getattr(proof, what) != digest:
            return _refused(
                chain, f"it speaks of another {what}, whose digest is not {digest[:16]}"
            )
    if proof.seal != proof.digest():
        return _refused(chain, "it was changed after it was made: its seal is not its digest")
    try:
        signs = check(chain, checked, proof)
    except RefusedError as refused:
        return _refused(chain, str(refused))
    except _MALFORMED as error:
        return _refused(chain, f"the proof is malformed: {error!r}")
    several = any(len(window) > 1 for window in chain.windows)
    winners = np.unique(chain.states(signs), axis=0) if several else signs
    return ProofCheck(True, len(signs), proof.refusals, signs, winners)


def _fraction(text: str) -> Fraction:
    """Read ``p/q``, and nothing that is short to write and long to work out."""
    return Fraction(*map(int, text.split("/")))


def _refused(chain: LayerChain, reason: str) -> ProofCheck:
    nothing = np.zeros((0, chain.units), dtype=np.uint8)
    return ProofCheck(False, 0, 0, nothing, nothing, reason)


def domain_digest(domain: Domain) -> str:
    """Give a SHA-256 over the numbers of a domain."""
    hasher, box = hashlib.sha256(type(domain).__name__.encode()), getattr(domain, "box", domain)
    if isinstance(domain, WholeSpace):
        hasher.update(f"{domain.dim}".encode())
    ends, others = ("lower", "upper"), ("A", "b", "origin", "directions")
    parts = [(name, getattr(box, name, None)) for name in ends]
    parts += [(name, getattr(domain, name, None)) for name in others]
    for name, array in parts:
        if array is not None:
            hasher.update(f"{name}{array.shape}".encode() + array.astype("<f8").tobytes())
    return hasher.hexdigest()
