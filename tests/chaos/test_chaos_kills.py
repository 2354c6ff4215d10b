"""Runners are killed at random moments, twenty times a run, and the run neither notices nor forgets.

Takes one to three minutes an algorithm: `hatch run test tests/chaos/test_chaos_kills.py -m long -s`.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from ray_checks import fragments_add_up, steps_add_up
from rlmodule_algos import APPOConfig, ImpalaConfig, PPOConfig
from rlmodule_algos.actor_learner import ActorLearnerConfig
from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.execution import RemotePool
from rlmodule_algos.execution.messages import Receipt

KILLS = 20
STEPS = 200_000
LEARNED = 400.0  # mean return of 20 greedy episodes
PROMISING = 300.0  # mean return of the last 100 episodes, from which on those are played
WITHIN = {
    PPOConfig: 150_000,
    ImpalaConfig: 300_000,
    APPOConfig: 400_000,
}  # env steps, as where nobody is killed
RUNNERS = 4
SEED = 0


class Killer(threading.Thread):
    """Kills a random process that is a runner, also one that only starts, 20 times."""

    def __init__(self, find: Callable[[], list[int]]) -> None:
        super().__init__(daemon=True)
        self.killed = 0
        self._find = find
        self._rng = random.Random(SEED)
        self._over = threading.Event()

    def run(self) -> None:
        while self.killed < KILLS and not self._over.wait(self._rng.uniform(0.2, 3.0)):
            pids = self._find()
            if pids:
                with suppress(ProcessLookupError):
                    os.kill(self._rng.choice(pids), signal.SIGKILL)
                    self.killed += 1

    def stop(self) -> None:
        self._over.set()
        self.join()


def runners_of(folder: str) -> list[int]:
    """Return the processes of this private Ray that are a runner of ours."""
    from rlmodule_algos.execution.ray_watchdog import marked

    found = []
    for pid in marked(folder):
        with suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::RayRunner"):
                found.append(pid)
    return found


def check_ledger(receipts: list[Receipt], sampled: int) -> None:
    keys = Counter((receipt.runner, receipt.incarnation, receipt.sequence) for receipt in receipts)
    assert max(keys.values()) == 1  # no fragment twice
    assert sum(receipt.num_env_steps for receipt in receipts) == sampled
    by_incarnation: dict[tuple[int, int], list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        by_incarnation[receipt.runner, receipt.incarnation].append(receipt)
    newest = -1
    for came in by_incarnation.values():
        assert [receipt.sequence for receipt in came] == list(range(len(came)))
        versions = [receipt.weights_version for receipt in came]
        assert versions == sorted(versions)
    for receipt in receipts:  # a new incarnation begins with weights that are not behind the others'
        if receipt.sequence == 0 and receipt.incarnation > 1:
            assert receipt.weights_version >= newest - 2 * RUNNERS
        newest = max(newest, receipt.weights_version)


def accounted_for(result: dict[str, Any], trained: int) -> bool:
    """Whether every step was learned from, dropped or waits; PPO learns from each at once."""
    steps = result["env_runners"]
    if "num_env_steps_trained" not in steps:
        return True
    return trained == steps["num_env_steps_trained_lifetime"] and steps_add_up(steps)


def run(algorithm: Algorithm[AlgorithmConfig], killer: Killer) -> tuple[dict[str, int], int]:
    """Train until the steps are done, every runner that was killed is back, and enough is learned.

    Returns the health at the end, and after how many steps the threshold was reached; fails where that
    takes more than it may.
    """
    learned_at = trained = 0
    within = WITHIN[type(algorithm.config)]
    while True:
        result = algorithm.train()
        health: dict[str, int] = result["fault_tolerance"]
        assert fragments_add_up(health)
        trained += result["env_runners"].get("num_env_steps_trained", 0)
        assert accounted_for(result, trained)
        whole = health["num_healthy_env_runners"] == RUNNERS and killer.killed == KILLS
        steps = result["env_runners"]["num_env_steps_sampled_lifetime"]
        if not learned_at and algorithm.iteration % 5 == 0 and promising(result):
            played = algorithm.evaluate(20)["evaluation"]
            learned_at = steps if played["episode_return_mean"] >= LEARNED else 0
        assert learned_at or steps <= within, f"not learned after {steps} steps: {result['env_runners']}"
        if learned_at and steps >= STEPS and whole and health["num_restarts"] >= KILLS:
            return health, learned_at


def promising(result: dict[str, Any]) -> bool:
    sampled = result["env_runners"]
    return bool(sampled["num_episodes_lifetime"] >= 100 and sampled["episode_return_mean"] >= PROMISING)


@pytest.mark.long
@pytest.mark.parametrize(
    ("config", "framework"),
    [(PPOConfig, "torch"), (ImpalaConfig, "torch"), (APPOConfig, "torch"), (ImpalaConfig, "tf")],
)
def test_a_run_survives_twenty_kills_learns_and_accounts_for_every_fragment(
    config: type[AlgorithmConfig], framework: str
) -> None:
    pytest.importorskip("ray")
    pytest.importorskip("torch" if framework == "torch" else "tensorflow")
    from rlmodule_algos.execution.ray_session import Session

    settings = config().environment("CartPole-v1").framework(framework).debugging(seed=SEED)
    settings.env_runners(num_env_runners=RUNNERS).fault_tolerance(max_failures_in_a_row=KILLS)
    if isinstance(settings, ActorLearnerConfig):  # two for each of four runners are learned from late
        settings.env_runners(max_requests_in_flight_per_env_runner=1)
    begin = monotonic()
    with settings.build() as algorithm:
        pool = algorithm.pool  # type: ignore[attr-defined]
        assert isinstance(pool, RemotePool)
        assert Session.current is not None
        folder = Session.current.folder
        assert folder is not None
        killer = Killer(lambda: runners_of(folder))
        while pool._fleet.num_ready < RUNNERS:  # so that those that sample are killed, not only starts
            pool._fleet.poll()
        killer.start()
        try:
            health, learned_at = run(algorithm, killer)
        finally:
            killer.stop()
        steps = algorithm.env_steps
        receipts = list(pool.receipts)
    seconds = monotonic() - begin
    print(
        f"{config.__name__}, {framework}: learned at {learned_at} of {steps} steps, {seconds:.0f} s, {health}"
    )

    check_ledger(receipts, steps)
    assert health["num_restarts"] == KILLS
    assert health["num_dropped_fragments"] <= KILLS * settings.max_requests_in_flight_per_env_runner
    assert not runners_of(folder)
