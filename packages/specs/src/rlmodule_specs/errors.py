"""What a broken spec raises: one error with every problem, aligned for reading."""

from typing import NamedTuple

__all__ = ["SHOWN", "Problem", "SpecError"]

SHOWN = 20  # problems in the message; `SpecError.problems` has them all
WIDEST = 40  # a longer path does not push the others' text to the right


class Problem(NamedTuple):
    """One place where the data breaks the spec: `obs.arm`, what stands there in the spec, what came."""

    path: str  # "" is the data itself
    expected: str
    found: str


class SpecError(ValueError):
    """The data breaks the spec. `problems` has every place, `where` the function that was called."""

    ag_pass_through = True  # AutoGraph's mark of errors that it hands on as they are

    def __init__(
        self,
        problems: tuple[Problem, ...],
        where: str = "",
        subject: str = "the data",
        rule: str = "the spec",
    ) -> None:
        self.problems = problems
        self.where = where
        self.subject = subject
        self.rule = rule
        super().__init__(problems, where, subject, rule)  # as given, so that the error can be pickled

    def __str__(self) -> str:
        number = len(self.problems)
        places = "1 place" if number == 1 else f"{number} places"
        head = f"{self.where}: " if self.where else ""
        return f"{head}{self.subject} breaks {self.rule} in {places}\n" + "\n".join(_rows(self.problems))


def _rows(problems: tuple[Problem, ...]) -> list[str]:
    shown = problems[:SHOWN]
    labels = [f"{problem.path or '(root)'}:" for problem in shown]
    width = min(max((len(label) for label in labels), default=0), WIDEST)
    rows = [
        f"  {label:<{width}}  expected {problem.expected}, got {problem.found}"
        for label, problem in zip(labels, shown, strict=True)
    ]
    rest = len(problems) - len(shown)
    return [*rows, f"  and {rest} more"] if rest else rows
