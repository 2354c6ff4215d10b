"""The conformance suite passes for a sound module and fails, in words, for each broken promise."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    Batch,
    DenseLayer,
    NumpyCategorical,
    NumpyLayers,
    NumpyPolicy,
    NumpyRLModule,
    Output,
    RLModule,
    RLModuleConfig,
    State,
)
from rlmodule_core.state import check_same_state
from rlmodule_core.testing import RLModuleConformance
from rlmodule_specs import SpecType

CONFIG = RLModuleConfig(observation_space=spaces.Box(-1, 1, (3,)), action_space=spaces.Discrete(2))


class Linear(NumpyRLModule):
    """Logits are `obs W`."""

    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.w = np.random.default_rng().normal(size=(3, 2))

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(batch["obs"] @ self.w)}

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_exploration(batch)

    def get_state(self) -> State:
        return {"w": self.w.copy()}

    def set_state(self, state: State) -> None:
        check_same_state({"w": self.w}, state, where="set_state")
        self.w = np.array(state["w"])


class Recurrent(Linear):
    """h_t = tanh(h_t-1 / 2 + obs_t W), from 1/4 at the start of an episode; logits are 3 h, `[B, T, 2]`."""

    def get_initial_state(self) -> State:
        return {"h": np.full(2, 0.25)}

    def starts(self, batch: Batch) -> Any:
        return batch.get("is_first", np.zeros(batch["obs"].shape[:2], bool))

    def is_real(self, batch: Batch) -> Any:
        return batch.get("mask", np.ones(batch["obs"].shape[:2], bool))

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        h, logits = batch["state_in"]["h"], []
        first, real = self.starts(batch), self.is_real(batch)
        for t in range(batch["obs"].shape[1]):
            h = np.where(first[:, t, None], 0.25, h)
            h = np.where(real[:, t, None], np.tanh(0.5 * h + batch["obs"][:, t] @ self.w), h)
            logits.append(3 * h)
        return {
            "action_dist": NumpyCategorical(np.stack(logits, axis=1)),
            "state_out": {"h": h},
            "vf_preds": np.stack(logits, axis=1)[..., 0],
            "note": "of no tensor",
        }


class TestLinear(RLModuleConformance):
    def make_module(self) -> RLModule:
        return Linear()


class TestRecurrent(RLModuleConformance):
    def make_module(self) -> RLModule:
        return Recurrent()


class TestNumpyPolicy(RLModuleConformance):
    """The NumPy module that ships."""

    def make_module(self) -> RLModule:
        rng = np.random.default_rng()
        first, last = (rng.normal(size=shape).astype(np.float32) for shape in ((8, 3), (2, 8)))
        layers = NumpyLayers(
            (
                DenseLayer(first, np.zeros(8, np.float32), "tanh"),
                DenseLayer(last, np.zeros(2, np.float32), "linear"),
            )
        )
        return NumpyPolicy(CONFIG, layers, NumpyCategorical)


# --- broken in one place each -----------------------------------------------------------------


class OneRowOnly(Linear):
    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(batch["obs"][:1] @ self.w)}


class OnlyDicts(Linear):
    def _forward_train(self, batch: Any, **kwargs: Any) -> Output:
        return self._forward_exploration(dict.copy(batch))


class Unchecked(Linear):
    def input_specs_exploration(self) -> SpecType:
        return None


class Mute(Linear):
    def output_specs_inference(self) -> SpecType:
        return None

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": "left"}


class Crowd(Linear):
    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        mean = batch["obs"].mean(axis=0)
        return {"action_dist": NumpyCategorical((batch["obs"] - mean) @ self.w)}


class Forgetful(Recurrent):
    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {**super()._forward_exploration(batch), "state_out": {"h": np.zeros((1, 2))}}


class Foreseeing(Recurrent):
    """Centres a sequence, so that a step depends on later ones."""

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        obs = batch["obs"] - batch["obs"].mean(axis=1, keepdims=True)
        return super()._forward_exploration({**batch, "obs": obs})


class Insistent(Recurrent):
    """Cannot do without the columns that may be left out."""

    def starts(self, batch: Batch) -> Any:
        return batch["is_first"]


class Continuing(Recurrent):
    """Carries the state from one episode into the next."""

    def starts(self, batch: Batch) -> Any:
        return np.zeros(batch["obs"].shape[:2], bool)


class ContinuingInTraining(Recurrent):
    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_exploration({**batch, "is_first": np.zeros_like(self.starts(batch))})


class Unmasked(Recurrent):
    """Goes on over padding, so its state is lost there."""

    def is_real(self, batch: Batch) -> Any:
        return np.ones(batch["obs"].shape[:2], bool)


class Averaging(Recurrent):
    """Its values of the real steps depend on the padding."""

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        return {**self._forward_exploration(batch), "vf_preds": batch["obs"] - batch["obs"].mean()}


class Exposed(Linear):
    def get_state(self) -> State:
        return {"w": self.w}


class Listed(Linear):
    def get_state(self) -> State:
        return {"w": self.w.tolist()}


class Partial(Linear):
    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.bias = np.random.default_rng().normal(size=2) * 100

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(batch["obs"] @ self.w + self.bias)}


class Careless(Linear):
    def set_state(self, state: State) -> None:
        self.w = np.array(state["w"])


class Hasty(Linear):
    def set_state(self, state: State) -> None:
        self.w = np.zeros_like(self.w)
        check_same_state({"w": self.w}, state, where="set_state")


class Sharing(Linear):
    def __deepcopy__(self, memo: Any) -> Any:
        return copy.copy(self)

    def set_state(self, state: State) -> None:
        check_same_state({"w": self.w}, state, where="set_state")
        self.w[:] = state["w"]


class Lonely(Linear):
    def as_multi_agent(self) -> Any:
        many = super().as_multi_agent()
        many.add_module("another", Linear())
        return many


class Draining(Linear):
    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        batch["obs"][:] = 0
        return self._forward_exploration(batch)


class Dropping(Linear):
    def _forward_inference(self, batch: Any, **kwargs: Any) -> Output:
        return self._forward_exploration({"obs": batch.pop("obs")})


class TooMany(Linear):
    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(batch["obs"] @ self.w + 50, start=7)}


BROKEN = {
    Draining: "test_a_forward_leaves_the_batch_as_it_was",
    Dropping: "test_a_forward_leaves_the_batch_as_it_was",
    TooMany: "test_acting_gives_an_action_distribution",
    OneRowOnly: "test_every_phase_takes_its_batch_of_any_size",
    OnlyDicts: "test_a_batch_may_be_any_mapping_and_be_passed_by_keyword",
    Unchecked: "test_a_batch_that_lacks_obs_or_has_other_sizes_is_refused_at_every_call",
    Mute: "test_acting_gives_an_action_distribution",
    Crowd: "test_inference_is_repeatable_and_rows_do_not_influence_each_other",
    Forgetful: "test_a_stateful_module_returns_the_state_that_it_takes",
    Foreseeing: "test_all_steps_at_once_are_the_single_steps_with_the_state_carried_on",
    Insistent: "test_all_steps_at_once_are_the_single_steps_with_the_state_carried_on",
    Continuing: "test_is_first_inside_a_sequence_is_a_fresh_start",
    ContinuingInTraining: "test_is_first_inside_a_sequence_is_a_fresh_start",
    Unmasked: "test_padding_on_the_right_changes_no_real_step_and_no_state",
    Averaging: "test_padding_on_the_right_changes_no_real_step_and_no_state",
    Exposed: "test_the_state_is_nested_dicts_of_arrays_that_are_copies",
    Listed: "test_the_state_is_nested_dicts_of_arrays_that_are_copies",
    Partial: "test_a_state_makes_another_module_act_the_same",
    Careless: "test_a_state_that_does_not_fit_is_refused_and_changes_nothing",
    Hasty: "test_a_state_that_does_not_fit_is_refused_and_changes_nothing",
    Sharing: "test_copies_act_the_same_with_weights_of_their_own",
    Lonely: "test_it_is_a_multi_agent_module_of_one",
}


@pytest.mark.parametrize(("cls", "test"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_module_that_breaks_a_promise_fails_the_test_of_that_promise(cls: Any, test: str) -> None:
    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            module: RLModule = cls()
            return module

    with pytest.raises((AssertionError, TypeError, AttributeError, KeyError, ValueError)):
        getattr(Suite(), test)()


def test_every_promise_is_broken_by_some_module_above() -> None:
    tests = {name for name in dir(RLModuleConformance) if name.startswith("test_")}
    assert tests - set(BROKEN.values()) == {"test_a_checkpoint_gives_a_module_that_acts_the_same"}


STEPWISE, EPISODES, PADDING = (
    "test_all_steps_at_once_are_the_single_steps_with_the_state_carried_on",
    "test_is_first_inside_a_sequence_is_a_fresh_start",
    "test_padding_on_the_right_changes_no_real_step_and_no_state",
)


@pytest.mark.parametrize(
    ("cls", "broken"),
    [
        (Recurrent, set()),
        (Foreseeing, {STEPWISE, EPISODES, PADDING}),
        (Insistent, {STEPWISE}),
        (Continuing, {EPISODES}),
        (ContinuingInTraining, {EPISODES}),
        (Unmasked, {PADDING}),
        (Averaging, {EPISODES, PADDING}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_module_with_a_state_fails_just_the_promises_that_it_breaks(cls: Any, broken: set[str]) -> None:
    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            module: RLModule = cls()
            return module

    failed = set()
    for name in (STEPWISE, EPISODES, PADDING):
        try:
            getattr(Suite(), name)()
        except (AssertionError, KeyError):
            failed.add(name)
    assert failed == broken


def test_training_that_draws_anew_each_time_is_not_compared() -> None:
    class Noisy(Recurrent):
        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            output = self._forward_exploration(batch)
            return {**output, "vf_preds": np.random.default_rng().normal(size=output["vf_preds"].shape)}

    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            return Noisy()

    Suite().test_is_first_inside_a_sequence_is_a_fresh_start()
    Suite().test_padding_on_the_right_changes_no_real_step_and_no_state()


def test_a_checkpoint_that_loses_something_fails_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Linear, "from_checkpoint", classmethod(lambda cls, path: cls()))
    with pytest.raises(AssertionError, match="it acts differently"):
        TestLinear().test_a_checkpoint_gives_a_module_that_acts_the_same()


def test_a_module_without_a_space_needs_its_own_batches_and_says_so() -> None:
    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            return Linear(None)

    with pytest.raises(NotImplementedError, match="make_batch: the module has no observation space"):
        Suite().test_acting_gives_an_action_distribution()
    with pytest.raises(NotImplementedError, match="make_module: return a new module"):
        RLModuleConformance().make_module()
