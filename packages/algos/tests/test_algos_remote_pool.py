"""Many runners as one pool, with an engine that runs them in this process and fails when told to."""

from __future__ import annotations

import os
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from time import monotonic
from typing import Any

import numpy as np
import pytest

from interrupt_checks import interrupted_at_every_line
from rlmodule_algos import PPOConfig
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.envs import MultiAgentCartPole
from rlmodule_algos.execution import EnvRunnerError, FaultTolerance, RemotePool
from rlmodule_algos.execution.engine import Doomed, Process, Ref
from rlmodule_algos.execution.messages import Request, Snapshot
from rlmodule_algos.execution.remote_runner import RemoteRunner
from rlmodule_algos.ppo import PPOTorchRLModule
from rlmodule_algos.runner_setup import RunnerSetup
from rlmodule_catalogs import PPOCatalog

TOLERANCE = FaultTolerance(
    restart=True,
    max_restarts=1000,
    max_failures_in_a_row=3,
    restart_delay_s=0.01,
    sample_timeout_s=0.2,
    start_timeout_s=0.2,
)


FILES = ("execution/remote_pool.py", "execution/fleet.py")

AS_THEY_COME = {"requests_in_flight": 2, "steps_per_request": 10}


@dataclass
class InlineEngine:
    """Does what is asked when it is waited for, but for the (runner, incarnation)s that `broken` names."""

    config: AlgorithmConfig
    broken: Callable[[int, int], str | None] = lambda runner, incarnation: None
    refs: dict[int, Callable[[], Any]] = field(default_factory=dict)
    runners: dict[int, RemoteRunner] = field(default_factory=dict)
    started: list[tuple[int, int]] = field(default_factory=list)
    puts: list[Snapshot] = field(default_factory=list)
    late: set[Ref] = field(default_factory=set)  # what is not there as yet
    due: dict[Ref, float] = field(default_factory=dict)  # when what takes its time is there
    closed: int = 0

    def ref(self, result: Callable[[], Any]) -> int:
        self.refs[len(self.refs)] = result
        return len(self.refs) - 1

    def start(self, index: int, incarnation: int, seed: int) -> Process:
        self.started.append((index, incarnation))
        number, how = len(self.started), self.broken(index, incarnation)

        def make() -> int:
            if how == "start":
                raise RuntimeError("no such ROM")
            self.runners[number] = RemoteRunner(self.make, index, incarnation, seed)
            return number

        ready = self.ref(make)
        if how == "stuck":
            self.late.add(ready)
        if how == "slow":
            self.due[ready] = monotonic() + 1.5 * TOLERANCE.start_timeout_s
        return Process((number, how), ready)

    def make(self, seed: int) -> RunnerSetup:
        return RunnerSetup(self.config, PPOTorchRLModule, PPOCatalog, seed)

    def put(self, snapshot: Snapshot) -> Ref:
        self.puts.append(snapshot)
        return snapshot

    def sample(self, process: Process, request: Request, snapshot_number: int, snapshot: Ref) -> Ref:
        number, how = process.handle

        def sample() -> Any:
            if how == "raise":
                raise RuntimeError("the motor is too hot")
            runner = self.runners[number]
            if runner.lacks(snapshot_number):
                runner.apply(snapshot)
            return runner.sample(request)

        ref = self.ref(sample)
        if how == "hang":
            del self.refs[ref]
            self.refs[-ref] = sample
        return ref

    def wait(self, refs: Sequence[Ref], timeout: float) -> list[Ref]:
        there = [ref for ref in refs if ref in self.refs and ref not in self.late]
        return [ref for ref in there if monotonic() >= self.due.get(ref, 0.0)]

    def get(self, ref: Ref) -> Any:
        return self.refs[ref]()

    def kill(self, processes: Sequence[Doomed]) -> None:
        for process, _ in processes:
            self.runners.pop(process.handle[0], None)

    def close(self) -> None:
        self.closed += 1


def config() -> PPOConfig:
    model = {"fcnet_hiddens": [8]}
    return PPOConfig().environment("CartPole-v1").env_runners(num_envs_per_env_runner=2).training(model=model)


class Pools:
    """Makes pools on an `InlineEngine`, with weights of modules like those of the runners."""

    def __init__(self) -> None:
        self.made: list[RemotePool] = []

    def __call__(self, engine: InlineEngine, size: int = 2, **settings: Any) -> RemotePool:
        self.learner = engine.make(seed=5)
        tolerance = settings.pop("tolerance", TOLERANCE)
        pool = RemotePool(
            engine,
            num_env_runners=size,
            learns=lambda: tuple(self.learner.modules),
            tolerance=tolerance,
            seed=0,
            **settings,
        )
        self.made.append(pool)
        return pool


@pytest.fixture
def pools() -> Iterator[Pools]:
    made = Pools()
    yield made
    for pool in made.made:
        pool.close()


def balanced(pool: RemotePool) -> bool:
    health = pool.health()
    return health["num_fragments_requested"] == (
        health["num_fragments_delivered"]
        + health["num_dropped_fragments"]
        + health["num_fragments_in_flight"]
    )


def sample_for_long(pool: RemotePool) -> None:
    for _ in range(1000):
        pool.sample(40)


# --- together ---------------------------------------------------------------------------------


def test_all_runners_sample_equal_shares_with_the_same_weights(pools: Pools) -> None:
    engine = InlineEngine(config())
    pool = pools(engine, size=3)
    for version in (4, 5):
        pool.broadcast(version, pools.learner.modules.get_state)
        fragments = pool.sample(60)["default_policy"]

        assert [fragment.weights_version for fragment in fragments] == [version] * 3
        assert [fragment.rewards.shape for fragment in fragments] == [(10, 2)] * 3
    assert [receipt[:3] for receipt in pool.receipts] == [(i, 1, k) for k in range(2) for i in range(3)]
    assert len(engine.puts) == 2
    assert pool.env_seconds == sum(one._acting.runner.env_seconds for one in engine.runners.values()) > 0
    assert pool.episodes.num_steps == sum(receipt.num_env_steps for receipt in pool.receipts)
    assert balanced(pool)


def test_fragments_of_a_given_length_are_as_many_as_the_batch_needs_and_dealt_out_in_turn(
    pools: Pools,
) -> None:
    pool = pools(InlineEngine(config()), steps_per_request=10)
    pool.broadcast(0, pools.learner.modules.get_state)
    fragments = pool.sample(45)["default_policy"]

    assert [fragment.rewards.shape for fragment in fragments] == [(5, 2)] * 5
    assert [receipt.runner for receipt in pool.receipts] == [0, 0, 0, 1, 1]


def test_weights_are_copied_and_sent_once_a_version(pools: Pools) -> None:
    engine = InlineEngine(config())
    pool = pools(engine)
    for _ in range(3):
        pool.broadcast(1, pools.learner.modules.get_state)

    assert len(engine.puts) == 1


def test_runners_act_with_the_weights_that_were_sent(pools: Pools) -> None:
    engine = InlineEngine(config())
    pool = pools(engine)
    pool.broadcast(0, pools.learner.modules.get_state)
    pool.sample(8)

    for runner in engine.runners.values():
        np.testing.assert_equal(runner._acting.modules.get_state(), pools.learner.modules.get_state())


def test_the_same_seed_gives_the_same_fragments_and_runners_differ(pools: Pools) -> None:
    both = []
    for _ in range(2):
        pool = pools(InlineEngine(config()))
        pool.broadcast(0, pools.learner.modules.get_state)
        both.append(pool.sample(200)["default_policy"])

    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)
    assert not np.array_equal(both[0][0].obs, both[0][1].obs)


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["start", "raise", "hang"])
def test_a_runner_that_fails_is_replaced_and_its_share_is_sampled_all_the_same(
    pools: Pools, how: str
) -> None:
    engine = InlineEngine(config(), lambda runner, turn: how if (runner, turn) == (1, 1) else None)
    pool = pools(engine)
    total = 0
    for version in range(3):
        pool.broadcast(version, pools.learner.modules.get_state)
        fragments = pool.sample(40)["default_policy"]
        total += sum(fragment.num_steps for fragment in fragments)

        assert [fragment.weights_version for fragment in fragments] == [version] * 2
        assert balanced(pool)
    while pool.health()["num_healthy_env_runners"] < 2:
        pool.sample(40)

    assert pool.health()["num_restarts"] == 1
    assert pool.health()["num_dropped_fragments"] == 1
    assert engine.started == [(0, 1), (1, 1), (1, 2)]
    keys = Counter(receipt[:3] for receipt in pool.receipts)
    assert max(keys.values()) == 1  # no fragment twice


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("start", "no such ROM"),
        ("raise", "the motor is too hot"),
        ("hang", "did not give a fragment within 0.2 s"),
    ],
)
def test_a_runner_that_always_fails_ends_the_run_with_what_it_raised(
    pools: Pools, how: str, told: str
) -> None:
    engine = InlineEngine(config(), lambda runner, turn: how if runner == 1 else None)
    pool = pools(engine)
    pool.broadcast(0, pools.learner.modules.get_state)
    with pytest.raises(EnvRunnerError, match="3 times in a row") as caught:
        sample_for_long(pool)

    assert "env runner 1" in str(caught.value)
    assert told in str(caught.value)
    assert [start for start in engine.started if start[0] == 1] == [(1, 1), (1, 2), (1, 3)]
    with pytest.raises(EnvRunnerError, match="3 times in a row"):  # again, rather than a wait without end
        pool.sample(40)
    assert balanced(pool)


def test_a_runner_that_starts_too_slowly_gets_twice_the_time_next(pools: Pools) -> None:
    engine = InlineEngine(config(), lambda runner, turn: "slow" if runner == 1 else None)
    pool = pools(engine)
    pool.broadcast(0, pools.learner.modules.get_state)

    while pool.health()["num_healthy_env_runners"] < 2:
        pool.sample(40)

    assert [start for start in engine.started if start[0] == 1] == [(1, 1), (1, 2)]


def test_nobody_waits_for_a_replacement_that_takes_long_to_start(pools: Pools) -> None:
    engine = InlineEngine(config(), lambda runner, turn: [None, "raise", "stuck"][turn if runner else 0])
    pool = pools(engine, tolerance=replace(TOLERANCE, start_timeout_s=5.0))
    pool.broadcast(0, pools.learner.modules.get_state)
    while len(engine.started) < 3:
        pool.sample(40)
    pool.sample(40)

    assert [receipt.runner for receipt in list(pool.receipts)[-2:]] == [0, 0]


def test_without_restarts_the_first_failure_ends_the_run(pools: Pools) -> None:
    tolerance = FaultTolerance(False, 1000, 3, 0.01, 0.2, 0.2)
    pool = pools(InlineEngine(config(), lambda runner, turn: "raise"), tolerance=tolerance)
    pool.broadcast(0, pools.learner.modules.get_state)

    with pytest.raises(EnvRunnerError, match="restart_failed_env_runners=False"):
        pool.sample(40)


def test_restarts_of_all_runners_together_are_limited(pools: Pools) -> None:
    tolerance = FaultTolerance(True, 2, 1000, 0.01, 0.2, 0.2)
    pool = pools(InlineEngine(config(), lambda runner, turn: "raise"), tolerance=tolerance)
    pool.broadcast(0, pools.learner.modules.get_state)

    with pytest.raises(EnvRunnerError, match="max_num_env_runner_restarts"):
        pool.sample(40)


def test_an_interrupted_call_leaves_nothing_to_the_next(pools: Pools) -> None:
    engine = InlineEngine(config(), lambda runner, turn: "hang" if (runner, turn) == (1, 1) else None)
    pool = pools(engine)
    pool.broadcast(0, pools.learner.modules.get_state)
    waiting = engine.wait
    engine.wait = lambda refs, timeout: interrupt()  # type: ignore[method-assign]
    with suppress(KeyboardInterrupt):
        pool.sample(40)
    engine.wait = waiting  # type: ignore[method-assign]

    pool.broadcast(1, pools.learner.modules.get_state)
    fragments = pool.sample(40)["default_policy"]

    assert [fragment.weights_version for fragment in fragments] == [1, 1]
    assert balanced(pool)


def interrupt() -> list[Ref]:
    raise KeyboardInterrupt


# --- as they come -----------------------------------------------------------------------------


def test_asynchronous_runners_never_have_more_requests_than_the_bound(pools: Pools) -> None:
    pool = pools(InlineEngine(config()), **AS_THEY_COME)
    for version in range(20):
        pool.broadcast(version, pools.learner.modules.get_state)
        pool.sample(25)  # three fragments, so a runner's part of them is two
        pool.attend()
        health = pool.health()

        assert all(len(slot.asked) <= 2 for slot in pool._fleet.slots)
        assert health["num_fragments_in_flight"] <= 2 * (2 + 1)
        assert balanced(pool)
    assert health["num_fragments_delivered"] == len(pool.receipts)
    for runner in range(2):
        came = [receipt for receipt in pool.receipts if receipt.runner == runner]
        assert [receipt.sequence for receipt in came] == list(range(len(came)))
        versions = [receipt.weights_version for receipt in came]
        assert versions == sorted(versions)


def test_asynchronous_runners_have_all_they_may_to_do_while_the_learner_learns(pools: Pools) -> None:
    pool = pools(InlineEngine(config()), **AS_THEY_COME)
    pool.broadcast(0, pools.learner.modules.get_state)
    for _ in range(3):
        pool.sample(10)

        assert pool.health()["num_fragments_in_flight"] == 2 * 2


@pytest.mark.parametrize(("requests", "waiting"), [(2, 3 + 1), (1, 3)])
def test_while_the_learner_learns_runners_fill_the_queue_with_the_next_batch_and_no_further(
    pools: Pools, requests: int, waiting: int
) -> None:
    pool = pools(InlineEngine(config()), requests_in_flight=requests, steps_per_request=10)
    pool.attend()  # before anything was asked for there is nothing to do
    pool.broadcast(0, pools.learner.modules.get_state)
    pool.sample(60)  # six fragments, so a runner's part of them is three
    for _ in range(20):
        pool.attend()
        assert all(len(slot.asked) <= requests for slot in pool._fleet.slots)
        assert balanced(pool)

    assert pool.health()["num_fragments_in_flight"] == 2 * waiting
    assert len(pool._fleet.arrived) == 2 * waiting
    assert pool.health()["num_fragments_delivered"] == len(pool.receipts) == 6


def test_a_runner_that_fails_while_the_learner_learns_is_replaced_meanwhile(pools: Pools) -> None:
    engine = InlineEngine(config(), lambda runner, turn: "raise" if runner and turn == 1 else None)
    pool = pools(engine, **AS_THEY_COME)
    pool.broadcast(0, pools.learner.modules.get_state)
    pool.sample(10)
    while pool.health()["num_restarts"] == 0 or pool.health()["num_healthy_env_runners"] < 2:
        pool.attend()

    assert pool._fleet.lost == []
    assert balanced(pool)


def test_a_replaced_runner_begins_with_the_weights_and_the_normalizer_of_then(pools: Pools) -> None:
    normalizing = config().training(model={"fcnet_hiddens": [8], "normalize_observations": True})
    failing = {1: "raise"}  # the second runner, as long as it is in there
    engine = InlineEngine(normalizing, lambda runner, turn: failing.get(runner))
    pool = pools(engine, tolerance=replace(TOLERANCE, max_failures_in_a_row=100), **AS_THEY_COME)
    learner = pools.learner
    for version in range(5):
        module = learner.modules["default_policy"]
        module.update_normalizer(np.full((3, 4), float(version), np.float32))
        pool.broadcast(version, learner.modules.get_state)
        pool.sample(20)
    failing.clear()
    while len({receipt.runner for receipt in pool.receipts}) < 2:
        pool.sample(20)
    first = next(receipt for receipt in pool.receipts if receipt.runner == 1)

    assert first.incarnation > 1
    assert first.weights_version == 4
    for runner in engine.runners.values():
        np.testing.assert_equal(runner._acting.modules.get_state(), learner.modules.get_state())


def test_asynchronous_runners_that_fail_are_replaced_and_every_fragment_is_accounted_for(
    pools: Pools,
) -> None:
    engine = InlineEngine(config(), lambda runner, turn: [None, "raise", "start"][turn % 3 if runner else 0])
    pool = pools(engine, **AS_THEY_COME)
    pool.broadcast(0, pools.learner.modules.get_state)
    while pool.health()["num_restarts"] < 2:
        pool.sample(25)
        assert balanced(pool)

    assert pool._fleet.lost == []  # nothing is kept of what will not come
    assert pool.health()["num_dropped_fragments"] == 2  # of the first; the second was asked for nothing yet


def test_what_had_come_when_a_call_was_interrupted_is_returned_by_the_next(pools: Pools) -> None:
    engine = InlineEngine(config())
    pool = pools(engine, **AS_THEY_COME)
    pool.broadcast(0, pools.learner.modules.get_state)
    waiting, waits = engine.wait, iter(range(100))
    engine.wait = lambda refs, timeout: (  # type: ignore[method-assign]
        interrupt() if next(waits) == 6 else waiting(refs, timeout)
    )
    with pytest.raises(KeyboardInterrupt):
        pool.sample(200)
    came = pool.health()["num_fragments_in_flight"]
    assert pool.health()["num_fragments_delivered"] == len(pool.receipts) == 0
    assert came > 4  # more than wait for runners, so some were taken already
    assert balanced(pool)
    pool.sample(200)

    assert pool.health()["num_fragments_delivered"] == len(pool.receipts) == 20
    for runner in range(2):
        sequences = [receipt.sequence for receipt in pool.receipts if receipt.runner == runner]
        assert sequences == list(range(len(sequences)))  # none was lost, and their order is kept
    assert pool.episodes.num_steps == sum(receipt.num_env_steps for receipt in pool.receipts)


def test_what_had_come_when_a_runner_gave_up_counts_as_not_delivered(pools: Pools) -> None:
    engine = InlineEngine(config(), lambda runner, turn: "raise" if runner else None)
    pool = pools(engine, **AS_THEY_COME)
    pool.broadcast(0, pools.learner.modules.get_state)
    with pytest.raises(EnvRunnerError):
        pool.sample(1_000_000)

    assert pool.health()["num_fragments_delivered"] == len(pool.receipts) == 0
    assert pool.health()["num_fragments_in_flight"] > 4
    assert balanced(pool)


def test_without_a_fragment_length_each_runner_is_asked_for_its_share_of_the_batch(pools: Pools) -> None:
    pool = pools(InlineEngine(config()), size=3, requests_in_flight=1)
    pool.broadcast(0, pools.learner.modules.get_state)
    fragments = pool.sample(60)["default_policy"]

    assert [fragment.rewards.shape for fragment in fragments] == [(10, 2)] * 3


def test_a_runner_that_takes_long_to_start_begins_with_the_weights_of_then(pools: Pools) -> None:
    engine = InlineEngine(config())
    pool = pools(engine, tolerance=replace(TOLERANCE, start_timeout_s=60.0), **AS_THEY_COME)
    engine.late = {pool._fleet.slots[1].awaited}
    for version in range(5):
        pool.broadcast(version, pools.learner.modules.get_state)
        pool.sample(10)
    engine.late = set()
    while pool.receipts[-1].runner == 0:
        pool.sample(10)

    assert pool.receipts[-1].weights_version == 4


def test_a_restored_pool_refuses_what_was_asked_for_before(pools: Pools) -> None:
    pool = pools(InlineEngine(config()), **AS_THEY_COME)
    pool.broadcast(7, pools.learner.modules.get_state)
    pool.sample(25)
    state = pool.get_state()
    pool.sample(25)
    pool.set_state(state)
    assert pool.episodes.get_state() == state["episodes"]
    pool.broadcast(7, pools.learner.modules.get_state)
    pool.sample(25)

    assert pool.receipts[-1].epoch == 1
    assert pool.health()["num_dropped_fragments"] > 0
    assert balanced(pool)


@pytest.mark.parametrize("settings", [{}, AS_THEY_COME])
def test_a_pool_restored_at_the_same_version_sends_the_weights_again(
    pools: Pools, settings: dict[str, int]
) -> None:
    engine = InlineEngine(config())
    pool = pools(engine, **settings)
    pool.broadcast(7, pools.learner.modules.get_state)
    pool.sample(40)
    other = engine.make(seed=6).modules
    pool.set_state(pool.get_state())
    pool.broadcast(7, other.get_state)
    pool.sample(40)

    assert pool.receipts[-1].weights_version == 7
    for runner in engine.runners.values():
        np.testing.assert_equal(runner._acting.modules.get_state(), other.get_state())


# --- interrupts -------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"requests_in_flight": 1, "steps_per_request": 2}])
def test_an_interrupt_at_no_line_of_a_call_loses_a_fragment_or_gives_it_twice(
    pools: Pools, settings: dict[str, int]
) -> None:
    pool, versions = pools(InlineEngine(config()), **settings), count()

    def step() -> None:
        pool.broadcast(next(versions), pools.learner.modules.get_state)
        pool.sample(4)
        pool.attend()

    lines = set()
    for where in interrupted_at_every_line(step, *FILES):
        lines.add(where)
        assert balanced(pool), where
        assert pool.health()["num_fragments_delivered"] == len(pool.receipts), where
        assert pool.episodes.num_steps == sum(receipt.num_env_steps for receipt in pool.receipts), where
        step()  # so that the next call has as much to do
    assert len(lines) > 60
    assert len({receipt[:3] for receipt in pool.receipts}) == len(pool.receipts)


def test_an_interrupt_at_no_line_of_a_restore_spoils_the_books(pools: Pools) -> None:
    pool = pools(InlineEngine(config()), **AS_THEY_COME)

    def restore() -> None:
        pool.set_state(pool.get_state())

    for where in interrupted_at_every_line(restore, *FILES):
        pool.broadcast(0, pools.learner.modules.get_state)
        pool.sample(4)
        assert balanced(pool), where


def test_waiting_for_runners_is_interrupted_at_once(pools: Pools) -> None:
    engine, went_on = InlineEngine(config()), list[bool]()
    pool = pools(engine, **AS_THEY_COME)
    pool.broadcast(0, pools.learner.modules.get_state)

    def wait(refs: Sequence[Ref], timeout: float) -> list[Ref]:
        signal.raise_signal(signal.SIGINT)
        went_on.append(True)
        return []

    engine.wait = wait  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        pool.sample(20)
    assert not went_on


# --- modules that join and leave --------------------------------------------------------------


def test_modules_that_join_and_leave_do_so_in_every_runner(pools: Pools) -> None:
    joined = {"late": False}

    def mapping(agent: str) -> str:
        return "second" if joined["late"] and agent == "agent_1" else "default_policy"

    agents = (
        config()
        .environment(MultiAgentCartPole, env_config={"num_agents": 2})
        .multi_agent(policies=["default_policy"], policy_mapping_fn=lambda agent: mapping(agent))
    )
    engine = InlineEngine(agents)
    pool = pools(engine)
    learner = pools.learner
    pool.broadcast(0, learner.modules.get_state)
    assert set(pool.sample(80)) == {"default_policy"}

    learner.modules.add_module("second", learner.build_module("second", None))
    joined["late"] = True
    pool.add_module("second", None)
    pool.broadcast(1, learner.modules.get_state)
    for _ in range(20):  # agents are mapped anew when an episode begins
        fragments = pool.sample(80)
    assert set(fragments) == {"default_policy", "second"}
    for runner in engine.runners.values():
        np.testing.assert_equal(runner._acting.modules.get_state(), learner.modules.get_state())

    learner.modules.remove_module("second")
    joined["late"] = False
    pool.remove_module("second")
    pool.broadcast(1, learner.modules.get_state)  # the same version, of other modules

    assert set(pool.sample(80)) == {"default_policy"}
    assert engine.puts[-1].added == {}
    for runner in engine.runners.values():
        assert set(runner._acting.modules) == {"default_policy"}
    assert set(pool.episodes.num_agent_steps) == {"default_policy", "second"}


def test_closing_twice_is_closing_once(pools: Pools) -> None:
    engine = InlineEngine(config())
    pool = pools(engine)
    pool.close()
    pool.close()

    assert engine.closed == 1
    with pytest.raises(RuntimeError, match="closed"):
        pool.sample(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_of_the_process_leaves_the_runners_alone(pools: Pools) -> None:
    engine = InlineEngine(config())
    pool = pools(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of others: the child touches nothing
        child = os.fork()
    if child == 0:
        pool.close()
        os._exit(engine.closed)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
