"""The public functions of the pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from byways.core.arrays import finite
from byways.core.errors import ShapeError
from byways.core.windows import settled
from byways.networks import as_chain
from byways.regions._bounds import refuse_if_astronomical
from byways.regions._count import RegionCount
from byways.regions._gather import Manner, gather
from byways.regions._outcome import Answer, Limits
from byways.regions._question import Question, require_whole
from byways.regions._region import Region
from byways.regions._report import RegionReport
from byways.regions._signs import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from numpy.typing import ArrayLike

    from byways.core.progress import Listener

__all__ = ["count_regions", "enumerate_regions", "iter_regions", "region_at"]

_REGIONS_AT_ONCE = 256


def enumerate_regions(
    network: object,
    domain: object,
    *,
    method: str = "auto",
    solver: str = "auto",
    exact: str = "float",
    maxima: str = "winners",
    tolerance: float = 1e-9,
    workers: int | None = 1,
    executor: Executor | None = None,
    queue: str | None = None,
    run_dir: str | Path | None = None,
    max_regions: int | None = None,
    time_limit: float | None = None,
    progress: bool | Listener = False,
    keep: tuple[str, ...] = ("signs", "witness"),
) -> RegionReport:
    """List every activation region of a network on a domain.

    With pre-activations z(x) of all hidden units, the activation region of a sign vector is the
    open set of inputs in the domain's interior where each z has its sign. The function finds
    every sign vector whose region is not empty. It speaks of the real-arithmetic function with
    the network's float64 weights; each decision is made in float64, and those within
    ``tolerance`` of zero are counted as ambiguous. A region thinner than the tolerance counts
    as empty, and as ambiguous.

    The report is the same, bit for bit, for any number of workers, executor and history of
    interruptions.

    Args:
        network: A ``torch.nn.Module``, an ONNX file, a list of ``(W, b)`` pairs, a ``LayerChain``
            or the path of a saved one; see ``byways.as_chain``.
        domain: A ``Box``, a pair ``(lower, upper)`` of numbers or vectors, a ``Polytope``, a
            ``Slice``, or ``WholeSpace(d)``.
        method: ``"vertices"`` cuts polytopes by their corners, for bounded domains with at most
            eight free coordinates; ``"simplex"`` walks depth-first with one live dictionary, for
            any dimension; ``"wide"`` works with the few numbers that a narrow first layer sees of
            many inputs, on boxes; ``"lp"`` is the published algorithm with one linear program per
            candidate; ``"auto"`` takes the fastest for the dimension.
        solver: For ``"lp"``: ``"highs"``, ``"scipy"`` or ``"gurobi"``.
        exact: ``"float"`` as above; ``"certified"`` proves every decision, in rational
            arithmetic where floating point with error bounds does not: no decision is ambiguous
            then, ``report.proof()`` can be checked by others, and ``tolerance`` does not change
            the list. Without limits; all rational, and slow, in the whole space.
        maxima: For max-pooling and maxout: with ``"winners"`` each maximum of several numbers has
            as many states as numbers, and a region is where each has one winner; ``"matches"``
            lists the finer regions of the tournament of ReLUs that computes it, on which losers
            are compared as well. A certified list of winners is found and proven by way of these.
        tolerance: Distance, in units of the domain's sides, below which a decision is ambiguous.
        workers: Processes; None for all cores that this process may use.
        executor: Any ``concurrent.futures.Executor`` instead.
        queue: Instead of both, hand the work to ``byways worker RUN_DIR`` on any machines that see
            ``run_dir``: ``"folder"``, the address of an AMQP broker, or ``"amqp"`` for the one in
            BYWAYS_AMQP_URL. Workers may come and go.
        run_dir: Directory that keeps finished parts, so that the same call goes on after a stop.
        max_regions: Stop after this many, with a partial report.
        time_limit: Stop after this many seconds, with a partial report.
        progress: True for a bar, or a function of a ``ProgressEvent``.
        keep: ``"witness"`` keeps a point inside each region beside its signs.

    Returns:
        The report. Time is proportional to the number of regions; memory beside the report is one
        dictionary per level. Deterministic. After Ctrl-C the report is partial and its outcome
        ``INTERRUPTED``.

    Raises:
        ConversionError: If the network is not a chain of piecewise-linear layers.
        DomainError: If the domain does not fit or has no interior, a weight is not finite, or the
            number of regions could be astronomical and no limit is given.
        ConnectionError: If the broker of the queue cannot be reached.
        RunMismatchError: If ``run_dir`` belongs to another question.
        ValueError: If an option is not one of those listed.
        TypeError: If an argument has the wrong type.

    References:
        Drammis et al., Parallel Algorithms for Exact Enumeration of Deep Neural Network Activation
        Regions, 2024 (method "lp"); Rada and Cerny, A New Algorithm for Enumeration of Cells of
        Hyperplane Arrangements, 2018.

    Example:
        >>> import byways as bw
        >>> W, b = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0.0, 0.0, -0.5]
        >>> report = bw.regions.enumerate_regions([(W, b), ([[1.0, 1.0, 1.0]], [0.0])], (-1, 1))
        >>> len(report), report.layer_counts
        (7, (7,))
        >>> report.affine(6).weight
        array([[2., 2.]])
    """
    question = Question.ask(
        network,
        domain,
        method=method,
        solver=solver,
        exact=exact,
        maxima=maxima,
        tolerance=tolerance,
        keep=keep,
    )
    limits = Limits(max_regions, time_limit)
    manner = Manner(workers, executor, run_dir, progress, queue)
    require_whole(question, limits)
    return RegionReport.assemble(question, _answer(question, limits, manner))


def count_regions(
    network: object,
    domain: object,
    *,
    method: str = "auto",
    solver: str = "auto",
    exact: str = "float",
    maxima: str = "winners",
    tolerance: float = 1e-9,
    workers: int | None = 1,
    executor: Executor | None = None,
    queue: str | None = None,
    run_dir: str | Path | None = None,
    max_regions: int | None = None,
    time_limit: float | None = None,
    progress: bool | Listener = False,
) -> RegionCount:
    """Count the activation regions of a network on a domain, in total and per layer.

    Arguments, errors and cost are those of ``enumerate_regions``; memory does not depend on the
    number of regions.

    Args:
        network: As for ``enumerate_regions``.
        domain: As for ``enumerate_regions``.
        method: As for ``enumerate_regions``.
        solver: As for ``enumerate_regions``.
        exact: As for ``enumerate_regions``.
        maxima: As for ``enumerate_regions``.
        tolerance: As for ``enumerate_regions``.
        workers: As for ``enumerate_regions``.
        executor: As for ``enumerate_regions``.
        queue: As for ``enumerate_regions``.
        run_dir: As for ``enumerate_regions``.
        max_regions: As for ``enumerate_regions``.
        time_limit: As for ``enumerate_regions``.
        progress: As for ``enumerate_regions``.

    Returns:
        Total, cells per layer, outcome, ambiguous decisions, seconds.

    Example:
        >>> import byways as bw
        >>> from byways.networks import example
        >>> count = bw.regions.count_regions(example("tent").chain, (0, 1))
        >>> count.total, count.layer_counts[:4]
        (1024, (2, 4, 8, 16))
    """
    question = Question.ask(
        network,
        domain,
        method=method,
        solver=solver,
        exact=exact,
        maxima=maxima,
        tolerance=tolerance,
        keep=None,
    )
    limits = Limits(max_regions, time_limit)
    manner = Manner(workers, executor, run_dir, progress, queue)
    require_whole(question, limits)
    answer = _answer(question, limits, manner)
    if exact == "certified":
        return RegionReport.assemble(question, answer).count()
    return RegionCount(
        answer.total, answer.layer_counts, answer.outcome, answer.ambiguous, answer.seconds
    )


def iter_regions(
    network: object,
    domain: object,
    *,
    method: str = "auto",
    solver: str = "auto",
    exact: str = "float",
    maxima: str = "winners",
    tolerance: float = 1e-9,
    keep: tuple[str, ...] = ("signs", "witness"),
) -> Iterator[Region]:
    """Give the activation regions one by one, while they are found.

    Memory is one dictionary per level, whatever the number of regions, so there is no limit to set:
    stop when you have seen enough. The order is that of the walk, the same in every run.

    Args:
        network: As for ``enumerate_regions``.
        domain: As for ``enumerate_regions``.
        method: As for ``enumerate_regions``.
        solver: As for ``enumerate_regions``.
        exact: As for ``enumerate_regions``.
        maxima: As for ``enumerate_regions``.
        tolerance: As for ``enumerate_regions``.
        keep: As for ``enumerate_regions``.

    Returns:
        An iterator of regions. Arguments are checked at the call, not at the first ``next``.

    Raises:
        ValueError: If an option is not one of those listed, or ``exact`` is ``"certified"``.

    Example:
        >>> import byways as bw, itertools
        >>> from byways.networks import example
        >>> endless = bw.regions.iter_regions(example("digits").chain, (0, 1))
        >>> len(list(itertools.islice(endless, 5)))
        5
    """
    question = Question.ask(
        network,
        domain,
        method=method,
        solver=solver,
        exact=exact,
        maxima=maxima,
        tolerance=tolerance,
        keep=keep,
    )
    if exact == "certified":
        raise ValueError(
            "\"exact\" was 'certified', and a list is certified as a whole; use enumerate_regions, "
            'or exact="float"'
        )
    return _walk(question)


def region_at(network: object, x: ArrayLike) -> Region:
    """Give the activation region of an input, by one forward pass.

    Args:
        network: As for ``enumerate_regions``.
        x: An input, shape ``(n_0,)``.

    Returns:
        Its region, with ``x`` as witness. On a boundary the lower segment counts; matches of a
        maximum in which the winner does not play have segment 0.

    Raises:
        ShapeError: If ``x`` is not one input of the network.
        DomainError: If ``x`` is not finite.

    Example:
        >>> region_at([([[1.0], [-1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])], [-2.0]).affine.weight
        array([[-1.]])
    """
    chain = as_chain(network)
    point = finite(x, "x")
    if point.shape != (chain.input_size,):
        raise ShapeError(f'"x" has shape {point.shape}; the network takes ({chain.input_size},)')
    segments = settled(chain.segments(point), chain.windows)
    return Region(chain, segments.astype(np.uint8), point)


def _answer(question: Question, limits: Limits, manner: Manner) -> Answer:
    refuse_if_astronomical(question, limits)
    return gather(question, limits, manner)


def _walk(question: Question) -> Iterator[Region]:
    problem = question.problem()
    walk = question.walk(problem, np.zeros(0, dtype=np.uint8))
    while not walk.finished:
        batch = walk.advance(_REGIONS_AT_ONCE, 10**6)
        signs = problem.segments(unpack(batch.words, problem.decisions))
        inputs = problem.embed(batch.points)
        for k in range(batch.leaves):
            yield Region(question.chain, signs[k], inputs[k] if question.witnesses else None)
