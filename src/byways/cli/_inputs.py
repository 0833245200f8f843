"""From options to a network and a domain."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from byways.cli._errors import Misuse, as_misuse, explain
from byways.core.domains import Box
from byways.networks import as_chain, example
from byways.regions import Slice, WholeSpace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from byways.cli._options import DomainOptions, SourceOptions
    from byways.core.chain import LayerChain
    from byways.networks import Example

__all__ = ["Source", "known_example", "read_array", "read_domain", "read_file", "read_source"]

_Read = TypeVar("_Read")

_NUMBER = r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*"
_PAIR = re.compile(rf"{_NUMBER},{_NUMBER}")
_THREE = 3


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A network, where it comes from, and the example that it is, if it is one."""

    name: str
    chain: LayerChain
    example: Example | None


def read_source(network: Path | None, options: SourceOptions) -> Source:
    """Read the network.

    Raises:
        FileNotFoundError: If the file is not there.
        Misuse: If there is none, or there are two.
    """
    if options.example is not None:
        if network is not None:
            raise Misuse(
                f"NETWORK was {str(network)!r} and --example {options.example!r}; give one of them"
            )
        found = example(options.example)
        return Source(options.example, found.chain, found)
    if network is None:
        raise Misuse(
            "no network was given; name a file (ONNX, or a saved chain), or use "
            "--example digits, moons or tent"
        )
    if not network.is_file():
        raise FileNotFoundError(
            f"there is no network file {str(network)!r}; give an ONNX file or a saved chain (.npz)"
        )
    return Source(network.name, read_file(network, options, as_chain), None)


def read_file(
    path: Path, options: SourceOptions, read: Callable[[Path, tuple[int, ...] | None], _Read]
) -> _Read:
    """Read a network file; weights without their network are refused with a way out."""
    try:
        return read(path, _shape(options.input_shape))
    except TypeError as error:
        raise Misuse(
            f"NETWORK was {str(path)!r}, which stores weights without the network that they "
            "belong to; in Python, write the network with torch.onnx.export or with "
            "byways.as_chain(model).save('net.npz'), and give that file"
        ) from error
    except ValueError as error:
        if '"input_shape"' in str(error):
            raise Misuse(explain(error)) from error
        raise


def known_example(chain: LayerChain) -> Source:
    """Name a network whose file is not at hand, by comparing it with the examples."""
    for name in ("digits", "moons", "tent"):
        found = example(name)
        if found.chain.widths == chain.widths and found.chain.digest() == chain.digest():
            return Source(name, chain, found)
    return Source("", chain, None)


def read_domain(options: DomainOptions, source: Source) -> object:
    """Read the domain; by default the box of the example.

    Raises:
        Misuse: If there is none, there are several, or it cannot be read.
    """
    given = {
        "--box": options.box is not None,
        "--around": options.around is not None,
        "--slice": options.slice is not None,
        "--whole-space": options.whole_space,
        "--vnnlib": options.vnnlib is not None,
    }
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise Misuse(f"{' and '.join(chosen)} were given; a run has one domain, so keep one")
    if options.around is None and (options.eps is not None or options.clip is not None):
        alone = "--eps" if options.eps is not None else "--clip"
        raise Misuse(f"{alone} was given without --around; add --around FILE, the centre")
    if options.vnnlib is not None:
        raise Misuse("--vnnlib is for byways regions; give --box=LO,HI or another domain here")
    with as_misuse():
        return _domain(options, source)


def read_array(path: Path, option: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Read numbers from a ``.npy``, ``.json`` or ``.csv`` file.

    Raises:
        FileNotFoundError: If it is not there.
        Misuse: If it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}, which {option} names")
    try:
        if path.suffix == ".json":
            return np.array(json.loads(path.read_text()), dtype=np.float64)
        if path.suffix == ".csv":
            return np.loadtxt(path, delimiter=",", dtype=np.float64)
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except (ValueError, TypeError, EOFError) as error:
        raise Misuse(
            f"{option} was {str(path)!r}, which holds no array of numbers ({error}); write one "
            "with numpy.save"
        ) from error


def _domain(options: DomainOptions, source: Source) -> object:
    if options.box is not None:
        return _box(options.box)
    if options.slice is not None:
        return _slice(options.slice)
    if options.whole_space:
        return WholeSpace(source.chain.input_size)
    if options.around is not None:
        if options.eps is None:
            raise Misuse("--around was given without --eps; add --eps E, half the side of the box")
        clip = None if options.clip is None else _pair(options.clip, "--clip")
        return Box.around(read_array(options.around, "--around"), options.eps, clip)
    if source.example is not None:
        return source.example.box
    raise Misuse(
        "no domain was given; add --box=LO,HI, --around FILE --eps E, --slice FILE or --whole-space"
    )


def _box(text: str) -> object:
    """Read ``LO,HI`` or a file with lower and upper sides."""
    from pathlib import Path

    path = Path(text)
    if _PAIR.fullmatch(text) or not (path.is_file() or path.suffix in {".npz", ".json", ".csv"}):
        return _pair(text, "--box")
    fields = _fields(path, "--box", ("lower", "upper"))
    return Box(fields["lower"], fields["upper"])


def _pair(text: str, option: str) -> tuple[float, float]:
    found = _PAIR.fullmatch(text)
    if found is None:
        raise Misuse(f"{option} was {text!r}; give two numbers with a comma, like {option}=-1,1")
    return float(found[1]), float(found[2])


def _slice(path: Path) -> Slice:
    if path.suffix == ".npy" or path.suffix == ".csv":
        return Slice.through(read_array(path, "--slice"))
    fields = _fields(path, "--slice", ("origin", "directions"))
    extent = np.asarray(fields.get("extent", 1.0), dtype=np.float64)
    sides: Any = float(extent) if extent.size == 1 else tuple(extent.ravel().tolist())
    return Slice(fields["origin"], fields["directions"], sides)


def _fields(path: Path, option: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Read named arrays from a ``.npz``, ``.json`` or ``.csv`` file."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}, which {option} names")
    try:
        if path.suffix == ".json":
            fields = dict(json.loads(path.read_text()))
        elif path.suffix == ".csv":
            table: Any = np.genfromtxt(path, delimiter=",", names=True, dtype=np.float64)
            fields = {name: table[name] for name in table.dtype.names or ()}
        else:
            with np.load(path, allow_pickle=False) as stored:
                fields = {name: stored[name] for name in stored.files}
    except (ValueError, TypeError, EOFError, AttributeError) as error:
        raise Misuse(f"{option} was {str(path)!r}, which cannot be read: {error}") from error
    missing = [name for name in names if name not in fields]
    if missing:
        raise Misuse(
            f"{option} was {str(path)!r}, which has no {missing[0]!r}; it must hold "
            f"{' and '.join(names)}"
        )
    return fields


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise Misuse(
            f"--input-shape was {text!r}; give whole numbers with commas, like 1,28,28"
        ) from error
