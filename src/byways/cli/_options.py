"""The options that several commands share. Only types and words: nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

__all__ = [
    "Csv",
    "Debug",
    "Directory",
    "DomainOptions",
    "ElsewhereOptions",
    "Idle",
    "Json",
    "Lease",
    "LimitOptions",
    "MethodOptions",
    "Network",
    "Place",
    "Plot",
    "Points",
    "ProofFile",
    "RunDir",
    "Save",
    "Source",
    "SourceOptions",
    "Workers",
]

_SOURCE, _DOMAIN, _METHOD, _RUN, _OUTPUT = (
    Group(name, sort_key=i)
    for i, name in enumerate(("Network", "Domain", "Method", "Run", "Output"), start=1)
)

Network = Annotated[
    Path | None, Parameter(help="ONNX file, or a chain saved by LayerChain.save (.npz).")
]
Directory = Annotated[Path, Parameter(help="The --run-dir of the run.")]
Place = Annotated[Path, Parameter(help="A run directory, or a report saved with --save.")]
Csv = Annotated[
    Path | None, Parameter(group=_OUTPUT, help="Write one row per region to this file (.csv).")
]
RunDir = Annotated[
    Path | None, Parameter(group=_RUN, help="Keep finished parts here, to go on after a stop.")
]
Workers = Annotated[
    str, Parameter(group=_RUN, help='Number of processes, or "all" for all cores.', metavar="N")
]
Source = Annotated[
    str, Parameter(help='Where tasks come from: "folder", "amqp" or amqp://...', metavar="WHERE")
]
Lease = Annotated[float, Parameter(help="Silence after which others take a task.", metavar="S")]
Idle = Annotated[
    float | None, Parameter(help="Leave after so many seconds without a task.", metavar="S")
]
Json = Annotated[
    bool,
    Parameter(
        group=_OUTPUT,
        negative=(),
        show_default=False,
        help="Print one JSON object instead of a table.",
    ),
]
Plot = Annotated[
    Path | None,
    Parameter(group=_OUTPUT, help="Draw the partition, or a plane through it (.png, .pdf, .svg)."),
]
Points = Annotated[
    Path | None,
    Parameter(group=_OUTPUT, help="Three inputs that span the plane to draw, as rows (.npy)."),
]
ProofFile = Annotated[
    Path | None,
    Parameter(group=_OUTPUT, help="Write the proof of --exact certified to this file (.npz)."),
]
Save = Annotated[
    Path | None, Parameter(group=_OUTPUT, help="Write the whole report to this file (.npz).")
]
Debug = Annotated[
    bool,
    Parameter(
        group=_OUTPUT, negative=(), show_default=False, help="Show the traceback of an error."
    ),
]


@Parameter(name="*", group=_SOURCE)
@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Where the network comes from, beside a file."""

    example: Annotated[
        Literal["digits", "moons", "tent"] | None,
        Parameter(help="A network that comes with the package, with its box and points."),
    ] = None
    input_shape: Annotated[
        str | None, Parameter(help="Shape of one input, for convolutions: 1,28,28.", metavar="N,..")
    ] = None


@Parameter(name="*", group=_DOMAIN)
@dataclass(frozen=True, slots=True)
class DomainOptions:
    """Where to look."""

    box: Annotated[
        str | None,
        Parameter(
            help="LO,HI for every input, or a file with lower and upper (.npz, .json, .csv).",
            metavar="LO,HI",
            allow_leading_hyphen=True,
        ),
    ] = None
    around: Annotated[Path | None, Parameter(help="Centre of a box: one input (.npy).")] = None
    eps: Annotated[float | None, Parameter(help="Half the side of the box --around.")] = None
    clip: Annotated[
        str | None,
        Parameter(
            help="Cut the box --around to these values.", metavar="LO,HI", allow_leading_hyphen=True
        ),
    ] = None
    slice: Annotated[
        Path | None,
        Parameter(help="Three inputs as rows (.npy), or origin, directions, extent (.npz, .json)."),
    ] = None
    whole_space: Annotated[
        bool, Parameter(help="All inputs, without a box.", negative=(), show_default=False)
    ] = False
    vnnlib: Annotated[
        Path | None,
        Parameter(help="List what can violate this VNN-LIB property, on its own box."),
    ] = None


@Parameter(name="*", group=_METHOD)
@dataclass(frozen=True, slots=True)
class MethodOptions:
    """How to find the regions."""

    method: Annotated[
        Literal["auto", "simplex", "wide", "vertices", "lp"],
        Parameter(help="auto: by corners up to 5 inputs, wide for images, simplex elsewhere."),
    ] = "auto"
    solver: Annotated[
        Literal["auto", "highs", "scipy", "gurobi"], Parameter(help="For --method lp.")
    ] = "auto"
    exact: Annotated[
        Literal["float", "certified"],
        Parameter(help="certified: prove every decision, in rationals where needed."),
    ] = "float"
    maxima: Annotated[
        Literal["winners", "matches"],
        Parameter(help="Of max-pooling: regions of equal winners, or of equal pairwise matches."),
    ] = "winners"
    tolerance: Annotated[float, Parameter(help="Decisions closer to zero count as ambiguous.")] = (
        1e-9
    )


@Parameter(name="*", group=_RUN)
@dataclass(frozen=True, slots=True)
class LimitOptions:
    """When to stop early."""

    max_regions: Annotated[int | None, Parameter(help="Stop after this many.", metavar="N")] = None
    time_limit: Annotated[
        float | None, Parameter(help="Stop after this many seconds.", metavar="S")
    ] = None


@Parameter(name="*", group=_RUN)
@dataclass(frozen=True, slots=True)
class ElsewhereOptions:
    """Who computes, instead of processes of our own."""

    queue: Annotated[
        str | None,
        Parameter(
            help='Leave the work to byways worker: "folder", or amqp://USER:PASSWORD@HOST.',
            metavar="WHERE",
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        Parameter(help="Work on the Dask cluster of this scheduler.", metavar="tcp://HOST:PORT"),
    ] = None
