"""What ends learning."""

from __future__ import annotations


class LearnerError(RuntimeError):
    """What learns cannot go on, and so ends the run.

    A learner in another process raised, or failed again and again; or batch after batch gave no gradient
    that is finite.
    """
