"""What a command gives back: a table or JSON on standard output, and files."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from byways.cli._errors import COMPLETE, PARTIAL, Misuse
from byways.cli._files import make_room
from byways.cli._summary import as_json, summarize
from byways.cli._table import table
from byways.regions import Outcome, RegionReport

if TYPE_CHECKING:
    from pathlib import Path

    from byways.cli._inputs import Source
    from byways.cli._picture import Picture
    from byways.regions._outcome import Answer
    from byways.regions._question import Question

__all__ = ["Outputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the result goes."""

    json: bool = False
    plot: Path | None = None
    points: Path | None = None
    save: Path | None = None
    proof: Path | None = None
    csv: Path | None = None
    run_dir: Path | None = None

    def prepare(self, question: Question, source: Source) -> Picture | None:
        """Refuse before the work starts what would fail after it; plan the picture.

        Raises:
            Misuse: If a file is asked for that a count, or such a domain, cannot give.
        """
        wanted = {
            "--plot": self.plot,
            "--save": self.save,
            "--proof": self.proof,
            "--csv": self.csv,
        }
        for option, path in wanted.items():
            if path is not None and not question.listing:
                raise Misuse(
                    f"{option} was given, but this run only counts; list the regions with "
                    "byways regions and another --run-dir"
                )
            if path is not None:
                make_room(path, option)
        if self.proof is not None and question.exact != "certified":
            raise Misuse(
                "--proof was given without --exact certified; add it, there is no proof else"
            )
        if self.points is not None and self.plot is None:
            raise Misuse("--points was given without --plot; add --plot FILE, the picture")
        if self.plot is None:
            return None
        from byways.cli._picture import plan

        return plan(self.plot, self.points, question, source)

    def give(
        self,
        question: Question,
        found: Answer | RegionReport,
        source: Source,
        *,
        picture: Picture | None = None,
        earlier: int = 0,
    ) -> int:
        """Write files, print the summary, and give the exit code."""
        if isinstance(found, RegionReport):
            report: RegionReport | None = found
        else:
            report = RegionReport.assemble(question, found) if question.listing else None
        files = {} if report is None else self._write(report, picture)
        if self.run_dir is not None:
            files["run_dir"] = str(self.run_dir)
        summary = summarize(
            question, found, source=source.name, report=report, earlier=earlier, files=files
        )
        print(json.dumps(as_json(summary), indent=2) if self.json else table(summary))
        sys.stdout.flush()
        return COMPLETE if found.outcome.complete else PARTIAL

    def _write(self, report: RegionReport, picture: Picture | None) -> dict[str, str]:
        """Write the files that were asked for."""
        files = {}
        if self.save is not None:
            report.save(self.save)
            files["saved"] = str(self.save)
        if self.proof is not None and report.certificate is not None:
            report.proof().save(self.proof)
            files["proof"] = str(self.proof)
        if self.csv is not None:
            _write_rows(report, self.csv)
            files["rows"] = str(self.csv)
        # Whoever stops a run wants it to stop; the picture can be had from byways report.
        if picture is not None and report.outcome is not Outcome.INTERRUPTED:
            picture.draw(report)
            files["picture"] = str(picture.path)
        return files


def _write_rows(report: RegionReport, path: Path) -> None:
    """Write one row per region, whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["region", "segments", "active", "map_rank"])
            writer.writerows(row.values() for row in report.each_row())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
