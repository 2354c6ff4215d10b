"""Learners who share every minibatch take the steps of one, whatever becomes of single learners.

The engine here runs learners in this process and fails when told to; `test_algos_ray_learners.py` has Ray's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.spaces import Box, Discrete

from rlmodule_algos import APPOConfig, BCConfig, ImpalaConfig, PPOConfig
from rlmodule_algos.batching import steps_in_rows
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.execution import LearnerGroup, LearnerTolerance
from rlmodule_algos.execution.engine import Doomed, Process, Ref
from rlmodule_algos.execution.learner_group import Question
from rlmodule_algos.execution.remote_learner import MakeLearning, RemoteLearner
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.learner_setup import MakeLearnerSetup, make_learner
from rlmodule_algos.learning import Learner, LearnerError, Limit, OptimizerSettings, ParallelLearner
from rlmodule_algos.module_setup import ModuleSetup
from rlmodule_algos.sampling import Spaces
from rlmodule_core import Columns, SingleAgentRLModuleSpec, initial_weights_from
from rlmodule_core.nest import Nest
from rlmodule_core.state import flatten_state

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
AGENTS = {"default_agent": Spaces(Box(-1.0, 1.0, (3,), np.float32), Discrete(4))}
TOLERANCE = LearnerTolerance(max_failures_in_a_row=3, start_timeout_s=0.1, learn_timeout_s=0.1)
COEFFICIENTS = {"lr": 1e-3, "entropy_coeff": 0.01, "kl_coeff": 0.2}


class Died(Exception):
    """What `get` of the engine raises for a learner that is gone."""


@dataclass
class InlineEngine:
    """Answers when it is waited for, unless `broken` says how it fails: (learner, incarnation, question)."""

    make: MakeLearning
    broken: Callable[[int, int, int], str | None] = lambda learner, incarnation, question: None
    learners: dict[tuple[int, int], RemoteLearner] = field(default_factory=dict)
    refs: dict[int, Callable[[], Any]] = field(default_factory=dict)
    parts: list[list[int]] = field(default_factory=list)  # rows of each gradient
    killed: list[tuple[int, int]] = field(default_factory=list)
    counter: Any = field(default_factory=itertools.count)
    closed: int = 0

    def ref(self, result: Callable[[], Any]) -> int:
        number: int = next(self.counter)
        self.refs[number] = result
        return number

    def start(self, index: int, incarnation: int, seed: int) -> Process:
        self.learners[index, incarnation] = RemoteLearner(self.make, seed)
        return Process((index, incarnation), self.ref(lambda: 100 + index))

    def put(self, value: object) -> Ref:
        return value

    def ask(self, process: Process, question: Question, weights: Ref) -> Ref:
        index, incarnation = process.handle
        number = len(self.parts)
        if question.method == "gradient":
            self.parts.append(question.arguments[0].tolist())
        how = self.broken(index, incarnation, number)

        def answer() -> Any:
            if how == "die":
                raise Died("it is gone")
            if how == "raise":
                raise ValueError("the loss is of no use")
            learner = self.learners[index, incarnation]
            if learner.lacks(question.number):
                learner.begin(question.number, question.lesson)
            return getattr(learner, question.method)(*question.arguments, weights)

        return -1 - number if how == "hang" else self.ref(answer)

    def wait(self, refs: Sequence[Ref], timeout: float) -> list[Ref]:
        return [ref for ref in refs if ref in self.refs]

    def get(self, ref: Ref) -> Any:
        return self.refs[ref]()

    def died(self, error: Exception) -> bool:
        return isinstance(error, Died)

    def kill(self, processes: Sequence[Doomed]) -> None:
        self.killed += [process.handle for process, _ in processes]

    def close(self) -> None:
        self.closed += 1


class Pair(NamedTuple):
    """One learner, several that share its work, and the engine of these."""

    alone: Learner
    together: ParallelLearner
    engine: InlineEngine


def pair(config: AlgorithmConfig, num_learners: int = 3, **engine: Any) -> Pair:
    algorithm = config.copy()
    from rlmodule_algos.appo import APPO
    from rlmodule_algos.bc import BC
    from rlmodule_algos.impala import Impala
    from rlmodule_algos.ppo import PPO

    kinds: dict[type[AlgorithmConfig], Any] = {
        PPOConfig: PPO,
        ImpalaConfig: Impala,
        APPOConfig: APPO,
        BCConfig: BC,
    }
    kind = kinds[type(config)]
    framework = Framework(config.framework_name)
    module_class = framework.algorithm_part(kind.name, "module").DEFAULT_MODULE
    make = MakeLearnerSetup(algorithm, AGENTS, module_class, kind.default_catalog_class, kind.make_loss)
    with initial_weights_from(np.random.default_rng(0)):
        modules = [
            ModuleSetup(algorithm, AGENTS, module_class, kind.default_catalog_class).build() for _ in range(2)
        ]
    modules[1].set_state(modules[0].get_state())
    started = InlineEngine(make, **engine)
    group = LearnerGroup(started, num_learners, TOLERANCE, seed=0)
    settings = OptimizerSettings(config.adam_epsilon, config.grad_clip, config.grad_clip_by)

    def loss_of(module: Any) -> Any:
        return kind.make_loss(module, algorithm, framework)

    together = ParallelLearner(modules[1], loss_of, framework, settings, group, seed=0)
    return Pair(make_learner(make, modules[0], framework, 0), together, started)


def batch_of(rows: int, max_len: int | None, seed: int = 0, *, shared: bool = False) -> dict[str, Nest]:
    """Rows of steps, or of sequences of very different lengths, with every column that a loss looks up."""
    rng = np.random.default_rng(seed)
    shape = (rows,) if max_len is None else (rows, max_len)

    def normal(*extra: int) -> npt.NDArray[np.float32]:
        return rng.normal(size=(*shape, *extra)).astype(np.float32)

    batch: dict[str, Nest] = {
        Columns.OBS: normal(3),
        Columns.ACTIONS: rng.integers(0, 4, shape),
        Columns.ACTION_LOGP: normal() - 1.5,
        Columns.VF_PREDS: normal(),
        Columns.ADVANTAGES: normal(),
        Columns.VALUE_TARGETS: 3.0 * normal(),
        Columns.ACTION_DIST_INPUTS: normal(4),
        "target_logp": normal() - 1.5,
    }
    if max_len is not None:
        lengths = rng.integers(1, max_len + 1, rows)
        real = np.arange(max_len) < lengths[:, None]
        state = rng.normal(size=(rows, 8)).astype(np.float32)
        one = {"h": state, "c": -state}
        states = one if shared else {"actor": one, "critic": one}
        batch |= {Columns.STATE_IN: states, Columns.MASK: real, Columns.LOSS_MASK: real}
    return batch


def learn(learner: Learner, batch: Mapping[str, Nest], **how: Any) -> dict[str, float]:
    settings = {"num_epochs": 3, "minibatch_size": 24, "coefficients": COEFFICIENTS, **how}
    with learner._framework.bridge.threads(1):
        result = learner.update("default_policy", batch, steps=steps_in_rows(dict(batch)), **settings)
    return {**result.means, "num_steps": result.num_steps, "num_skipped": result.num_skipped}


def require_equal(pair: Pair) -> None:
    expected, actual = (flatten_state(one.get_state()["modules"]) for one in (pair.alone, pair.together))
    assert set(actual) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, atol=1e-6, err_msg=name)


def small(config: AlgorithmConfig, framework: str = "torch", *, lstm: bool = False) -> AlgorithmConfig:
    model: dict[str, Any] = {"fcnet_hiddens": [8], "max_seq_len": 6}
    if lstm:
        model |= {"use_lstm": True, "lstm_cell_size": 8}
    return config.framework(framework).training(model=model, grad_clip=0.5)


def ppo() -> AlgorithmConfig:
    return small(PPOConfig())


# --- the same steps -----------------------------------------------------------------------------


CELLS = [
    (config, framework, lstm)
    for config in (PPOConfig, ImpalaConfig, APPOConfig, BCConfig)
    for framework in FRAMEWORKS
    for lstm in ((False, True) if framework == "torch" else (config is PPOConfig,))  # tracing takes long
]


@pytest.mark.parametrize(("config", "framework", "lstm"), CELLS)
def test_two_learners_take_the_steps_of_one_on_the_joined_batch(
    config: type[AlgorithmConfig], framework: str, lstm: bool
) -> None:
    both = pair(small(config(), framework, lstm=lstm), num_learners=2)
    before = flatten_state(both.alone.get_state()["modules"])

    for seed in range(3):
        batch = batch_of(37, 6 if lstm else None, seed, shared=config is BCConfig)
        alone, together = learn(both.alone, batch), learn(both.together, batch)
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-6)

    require_equal(both)
    after = flatten_state(both.together.get_state()["modules"])
    assert max(np.abs(after[name] - before[name]).max() for name in after) > 0.003  # they did learn
    optimizers = [one.get_state()["optimizers"]["default_policy"] for one in (both.alone, both.together)]
    np.testing.assert_allclose(optimizers[1]["exp_avg"], optimizers[0]["exp_avg"], atol=1e-5)


def test_every_row_goes_to_one_learner_an_epoch_and_the_parts_have_near_equal_steps() -> None:
    both = pair(small(PPOConfig(), lstm=True))
    batch = batch_of(40, 6)
    lengths = np.asarray(batch[Columns.LOSS_MASK]).sum(axis=1)

    learn(both.together, batch, num_epochs=1, minibatch_size=1000)

    assert len(both.engine.parts) == 3
    assert sorted(itertools.chain(*both.engine.parts)) == list(range(40))
    shares = [lengths[part].sum() for part in both.engine.parts]
    assert max(shares) - min(shares) <= 6


def test_learners_that_there_are_no_rows_for_rest() -> None:
    both = pair(ppo(), num_learners=3)
    batch = batch_of(2, None)

    assert learn(both.together, batch) == pytest.approx(learn(both.alone, batch), rel=1e-4)
    assert {len(part) for part in both.engine.parts} == {1}
    assert len(both.engine.parts) == 2 * 3  # of the epochs
    require_equal(both)


def test_a_limit_ends_the_update_at_the_same_minibatch() -> None:
    both, batch = pair(ppo()), batch_of(48, None)

    results = [learn(one, batch, limit=Limit("mean_kl", 0.0)) for one in both[:2]]

    assert results[0]["num_steps"] == results[1]["num_steps"] == 1
    require_equal(both)


def test_a_gradient_of_one_learner_that_is_not_finite_moves_nobody() -> None:
    both, batch = pair(ppo()), batch_of(24, None)
    before = flatten_state(both.together.get_state()["modules"])
    np.asarray(batch[Columns.VALUE_TARGETS])[5] = np.inf

    result = learn(both.together, batch, num_epochs=1)

    assert (result["num_steps"], result["num_skipped"]) == (0, 1)
    after = flatten_state(both.together.get_state()["modules"])
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_ten_batches_in_a_row_without_a_finite_gradient_are_an_error_with_as_many_learners_as_there_are() -> (
    None
):
    both, batch = pair(ppo()), batch_of(24, None)
    spoilt = {**batch, Columns.VALUE_TARGETS: np.full(24, 1e30, np.float32)}
    said = []
    for learner in both[:2]:
        for bad in (9, 9):
            for _ in range(bad):
                assert learn(learner, spoilt)["num_steps"] == 0
            learn(learner, batch)
        for _ in range(9):
            learn(learner, spoilt)
        with pytest.raises(LearnerError, match=r"10 batches in a row.*vf_loss of the loss \(inf\)") as caught:
            learn(learner, spoilt)
        said.append(str(caught.value))

    assert said[0] == said[1]
    assert not both.together.not_finite()
    require_equal(both)


def test_a_module_that_joins_leaves_and_joins_again_learns_as_with_one_learner() -> None:
    both, batch = pair(ppo()), batch_of(30, None)
    for hidden in ([5], [7]):
        spec = SingleAgentRLModuleSpec(
            observation_space=AGENTS["default_agent"].observation,
            action_space=AGENTS["default_agent"].action,
            model_config_dict={"fcnet_hiddens": hidden},
        )
        built = [both.engine.make(0).build_module("later", spec) for _ in range(2)]
        built[1].set_state(built[0].get_state())
        for learner, module in zip(both[:2], built, strict=True):
            learner.modules.add_module("later", module)
            learner.add("later", spec)
            learner.update("later", batch, num_epochs=1, minibatch_size=10, coefficients=COEFFICIENTS)
        learn(both.alone, batch)
        learn(both.together, batch)
        require_equal(both)
        for learner in both[:2]:
            learner.modules.remove_module("later")
            learner.remove("later")


def test_what_a_forward_changes_beside_the_weights_is_taken_over_from_the_first_learner() -> None:
    torch = pytest.importorskip("torch")
    from rlmodule_algos.ppo import PPOTorchRLModule

    class Counting(PPOTorchRLModule):  # type: ignore[misc, unused-ignore]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.seen: Any
            self.register_buffer("seen", torch.zeros(()))

        def _forward_train(self, batch: Any) -> Any:
            self.seen.add_(len(batch[Columns.OBS]))
            return super()._forward_train(batch)

    config = ppo().rl_module(rl_module_spec=SingleAgentRLModuleSpec(module_class=Counting))
    both = pair(config, num_learners=2)

    learn(both.together, batch_of(24, None), num_epochs=2)

    module: Any = both.together.modules["default_policy"]
    assert float(module.seen) == 2 * 12  # rows of the first learner
    learn(both.alone, batch_of(24, None), num_epochs=2)
    for name, array in flatten_state(both.alone.modules["default_policy"].get_state()).items():
        if name != "seen":
            np.testing.assert_allclose(flatten_state(module.get_state())[name], array, atol=1e-6)


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["die", "hang"])
def test_a_learner_that_dies_or_hangs_now_and_then_is_replaced_and_no_step_is_lost(how: str) -> None:
    def broken(learner: int, incarnation: int, question: int) -> str | None:
        return how if learner == 1 and question >= 4 * incarnation and incarnation < 5 else None

    both, batch = pair(ppo(), broken=broken), batch_of(48, None)

    alone, together = learn(both.alone, batch), learn(both.together, batch)

    assert together == pytest.approx(alone, rel=1e-4)
    require_equal(both)
    assert both.together.health() == {"num_learner_restarts": 4}  # more than may be in a row
    assert both.engine.killed == [(1, 1), (1, 2), (1, 3), (1, 4)]


def test_what_a_learner_raises_ends_the_run_at_once_and_again_with_its_own_words() -> None:
    both = pair(ppo(), broken=lambda learner, incarnation, question: "raise" if question == 7 else None)
    batch = batch_of(48, None)

    for _ in range(2):
        with pytest.raises(
            LearnerError, match=r"learner 1 raised an error or died:\nthe loss is of no use"
        ) as told:
            learn(both.together, batch)
        assert isinstance(told.value.__cause__, ValueError)

    assert len(both.engine.parts) == 9  # the third step was the last that was tried
    assert both.together.health() == {"num_learner_restarts": 0}
    both.together.close()
    both.together.close()
    assert both.engine.closed == 1
    assert both.engine.killed == [(0, 1), (1, 1), (2, 1)]


def test_a_learner_that_always_dies_ends_the_run_with_its_first_failure() -> None:
    both = pair(ppo(), broken=lambda learner, incarnation, question: "die" if learner == 2 else None)

    with pytest.raises(LearnerError, match=r"learner 2 raised an error or died:\nit is gone"):
        learn(both.together, batch_of(48, None))

    assert both.together.health() == {"num_learner_restarts": 2}


def test_a_learner_that_never_answers_ends_the_run_and_the_error_names_the_settings() -> None:
    both = pair(ppo(), broken=lambda learner, incarnation, question: "hang" if learner == 0 else None)

    with pytest.raises(
        LearnerError, match=r"within 0\.2 s \(fault_tolerance: start_timeout_s \+ learn_timeout_s"
    ):
        learn(both.together, batch_of(48, None))


def test_closed_learners_do_not_answer() -> None:
    both = pair(ppo())
    both.together.close()

    with pytest.raises(RuntimeError, match="the learners were closed"):
        learn(both.together, batch_of(48, None))
