"""What every report of a pass can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from byways.core.optional import require

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Report"]


class Report(ABC):
    """The result of a pass: rows that a table can be made of."""

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """Give one dictionary per row of the table, all with the same keys."""

    def to_frame(self) -> pd.DataFrame:
        """Give the rows as a pandas data frame.

        Raises:
            MissingDependencyError: If pandas is not installed.
        """
        pandas = require("pandas", extra="frame", purpose="A report's to_frame()")
        frame: pd.DataFrame = pandas.DataFrame(self.rows())
        return frame
