"""How much failure of runners is borne."""

from __future__ import annotations

from dataclasses import dataclass

PROVEN_S = 60.0  # of work, after which the failures before it are forgotten


@dataclass(frozen=True)
class FaultTolerance:
    """How much failure is borne. Times are in seconds."""

    restart: bool
    max_restarts: int  # of all runners together, over the life of the run
    max_failures_in_a_row: int  # of one runner, without a minute of work in between
    restart_delay_s: float  # before the first restart; doubles with every failure in a row
    sample_timeout_s: float  # for one fragment
    start_timeout_s: float  # for making environments and modules; doubles with every failure in a row

    def given_up(self, failures: int, restarts: int) -> str | None:
        """Return why a runner that failed so often in a row is not replaced; None: it is."""
        if not self.restart:
            return "It is not replaced, as fault_tolerance(restart_failed_env_runners=False) says"
        if failures >= self.max_failures_in_a_row:
            return (
                f"It failed {failures} times in a row, each time within {PROVEN_S:g} s of its start, "
                "which is all that fault_tolerance(max_failures_in_a_row=...) bears"
            )
        if restarts >= self.max_restarts:
            return (
                f"Runners were replaced {restarts} times, which is all that "
                "fault_tolerance(max_num_env_runner_restarts=...) bears"
            )
        return None
