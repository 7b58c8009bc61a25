"""What a training leaves to look at: loss and metrics of each epoch."""

import csv
import io
from typing import Any

Row = dict[str, Any]


class History(list[Row]):
    """One dict for each epoch: "epoch", counted from 1, then "loss" and the metrics, each a number."""

    def column(self, name: str) -> list[Any]:
        """One quantity over the epochs."""
        return [row[name] for row in self]

    def to_csv(self) -> str:
        """A table with a header line; numbers are written so that reading gives the same bits. What only some epochs
        have, as when validation began later, is left empty in the others."""
        text = io.StringIO()
        columns = dict.fromkeys(name for row in self for name in row) or ["epoch"]
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self)
        return text.getvalue()
