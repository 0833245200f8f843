"""Check a wheel and the environment without extras that it was installed in.

Usage: python check_wheel.py BYWAYS.whl, with the environment's own Python, outside the checkout.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path, PurePosixPath


def main(wheel: str) -> None:
    """Run every check; the first that fails ends the script."""
    check_contents(wheel)
    check_environment()
    check_answers()
    check_commands()


def check_contents(wheel: str) -> None:
    """The wheel holds the package with its data, and nothing else."""
    paths = [PurePosixPath(name) for name in zipfile.ZipFile(wheel).namelist()]
    tops = {path.parts[0] for path in paths if not path.parts[0].endswith(".dist-info")}
    kinds = {path.suffix for path in paths if path.parts[0] == "byways"}
    data = sum(
        info.file_size for info in zipfile.ZipFile(wheel).infolist() if ".npz" in info.filename
    )
    expect(tops == {"byways"}, f"the wheel also holds {sorted(tops - {'byways'})}")
    expect(kinds == {".py", ".npz", ".typed"}, f"the package holds {sorted(kinds)}")
    expect(data < 300_000, f"the networks take {data} bytes")
    report(f"contents: {len(paths)} files, networks {data} bytes")


def check_environment() -> None:
    """Byways comes from the wheel, and no optional package is here."""
    import byways

    site = Path(sysconfig.get_paths()["purelib"]).resolve()
    home = Path(byways.__file__).resolve()
    expect(site in home.parents, f"byways came from {home}")
    for module in ("torch", "onnx", "matplotlib", "pandas", "gurobipy", "sklearn"):
        expect(importlib.util.find_spec(module) is None, f"{module} is installed")
    report(f"environment: byways {byways.__version__}, no optional package")


def check_answers() -> None:
    """The hard dependencies are enough to enumerate; what needs more says what to install."""
    import byways as bw
    from byways.core.errors import MissingDependencyError
    from byways.networks.generate import folding_network

    found = bw.regions.enumerate_regions(folding_network(2, 3, 2), (0, 1))
    expect(len(found) == 64, f"the plane folded three times has {len(found)} regions, not 64")
    for call, extra in ((found.to_frame, "frame"), (found.plot, "plot")):
        try:
            call()
        except MissingDependencyError as error:
            expect(f"pip install 'byways[{extra}]'" in str(error), f"the message is {error}")
            report(f"without {extra}: {error}")
        else:
            expect(False, f"{call.__name__} worked without the extra {extra}")


def check_commands() -> None:
    """The command helps, enumerates, and says which extra a picture needs."""
    command = str(Path(sysconfig.get_paths()["scripts"]) / "byways")
    with tempfile.TemporaryDirectory() as folder:
        cases = [
            (["--help"], 0, "regions"),
            (["--version"], 0, "."),
            (["regions", "--example", "tent"], 0, "1024"),
            (["regions", "--example", "moons", "--plot", "moons.png"], 1, "byways[plot]"),
        ]
        for arguments, status, words in cases:
            done = subprocess.run(
                [command, *arguments],
                capture_output=True,
                text=True,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            said = f"{done.stdout}\n{done.stderr}"
            plain = said.replace(",", "")
            line = " ".join(["byways", *arguments])
            expect(done.returncode == status, f"{line} ended with {done.returncode}:\n{said}")
            expect(words in plain, f"{line} does not say {words!r}:\n{said}")
            expect("Traceback" not in said, f"{line} shows a traceback:\n{said}")
            report(f"{line}: exit {status}")


def expect(condition: bool, message: str) -> None:
    """End the script with a message unless a condition holds."""
    if not condition:
        sys.exit(f"check_wheel: {message}")


def report(line: str) -> None:
    """Say what was checked."""
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
