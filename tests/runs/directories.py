"""Run directories to attack: their journals by line, and what they looked like before seals."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from byways.runs import RunDirectory
from tests.runs.queues import CONTEXT, IDENTITY
from tests.runs.workloads import make_tasks, multiply


def filled(path: Path, count: int = 6) -> Path:
    with RunDirectory.create(path, **IDENTITY) as run:
        for task in make_tasks(count):
            run.append(multiply(CONTEXT, task))
    return path


def journal_of(path: Path) -> Path:
    (journal,) = (path / "journal").iterdir()
    return journal


def lines_of(path: Path) -> list[bytes]:
    return journal_of(path).read_bytes().splitlines(keepends=True)


def downgrade(path: Path) -> None:
    fields = json.loads((path / "manifest.json").read_text())
    del fields["seal"]
    (path / "manifest.json").write_text(json.dumps(fields | {"format": 1}))


def old(path: Path) -> Path:
    """Make a directory as it was before results were sealed."""
    filled(path)
    lines = []
    (shard,) = (path / "shards").iterdir()
    with np.load(shard) as stored:
        records = stored["records"].tobytes()
    for line in lines_of(path):
        fields = json.loads(line)
        del fields["seal"]
        if fields.pop("sha256", None):
            start = fields["offset"]
            fields["crc"] = zlib.crc32(records[start : start + fields["length"]])
        lines.append(json.dumps(fields, separators=(",", ":")) + "\n")
    journal_of(path).write_text("".join(lines))
    downgrade(path)
    (path / "secret").unlink()
    return path
