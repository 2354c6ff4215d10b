"""What goes wrong with recorded data, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence

LISTED = 8  # more than that is one mistake made many times


class OfflineDataError(ValueError):
    """Recorded data that cannot be learned from; `problems` has a line for each thing that is wrong."""

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        super().__init__(where, tuple(problems))  # as they are, so that it can be pickled
        self.where = where
        self.problems = list(problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.where}: {self.problems[0]}"
        lines = [f"{self.where}: {len(self.problems)} problems", *self.problems[:LISTED]]
        if len(self.problems) > LISTED:
            lines.append(f"... and {len(self.problems) - LISTED} more")
        return "\n  ".join(lines)


def require_none(where: str, problems: Sequence[str]) -> None:
    """Raise OfflineDataError if there are problems."""
    if problems:
        raise OfflineDataError(where, problems)
