"""The conformance suite passes for a sound module and fails, in words, for each broken promise."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    Batch,
    CheckpointError,
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


def fresh_config() -> RLModuleConfig:
    return replace(CONFIG, model_config_dict={"scale": 2})


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
    """The NumPy module that ships; it is made of layers, so no checkpoint could make it again."""

    saves = False

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


class TooManyInTraining(Linear):
    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(np.zeros((len(batch["obs"]), 3)))}


class Specless(Linear):
    def input_specs_train(self) -> SpecType:
        return None

    input_specs_exploration = input_specs_inference = input_specs_train


class Eroding(Linear):
    """Acting to learn changes the weights."""

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        self.w *= 0.99
        return super()._forward_exploration(batch)

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(batch["obs"] @ self.w)}


class CrowdExploring(Linear):
    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical((batch["obs"] - batch["obs"].mean(axis=0)) @ self.w)}

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(batch["obs"] @ self.w)}


class Counting(Linear):
    """Its exploration depends on how often it was called."""

    calls = 0

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        self.calls += 1
        return {"action_dist": NumpyCategorical(batch["obs"] @ self.w * self.calls)}

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(batch["obs"] @ self.w)}


class Deaf(Linear):
    """Starts as all of its kind do, and takes no state; what it was given is not noticed by that."""

    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.w = np.ones((3, 2))

    def set_state(self, state: State) -> None:
        check_same_state({"w": self.w}, state, where="set_state")


class Reusing(Linear):
    """Writes its logits into the same memory each time, as one does to spare an allocation."""

    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.buffers: dict[int, Any] = {}

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        buffer = self.buffers.setdefault(len(batch["obs"]), np.zeros((len(batch["obs"]), 2)))
        return {"action_dist": NumpyCategorical(np.matmul(batch["obs"], self.w, out=buffer))}


class ReusingInTraining(Linear):
    """Reuses the memory of a column beside the distribution."""

    values = np.zeros(4)

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        if len(batch["obs"]) == 4:
            self.values[:] = batch["obs"].sum(axis=-1)
        return {"vf_preds": self.values}


class Flattened(Recurrent):
    """Forgets that its rows have steps."""

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        output = super()._forward_exploration(batch)
        return {**output, "action_dist": NumpyCategorical(output["action_dist"].inputs.reshape(-1, 2))}


class FlattenedInTraining(Recurrent):
    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        output = self._forward_exploration(batch)
        return {**output, "vf_preds": output["vf_preds"].reshape(-1)}


class TimeMajorInTraining(Recurrent):
    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        output = self._forward_exploration(batch)
        return {**output, "vf_preds": output["vf_preds"].swapaxes(0, 1)}


class Mixing(Recurrent):
    """Stacks its steps first and cuts them as if they came by row."""

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        output = super()._forward_exploration(batch)
        logits = output["action_dist"].inputs
        return {**output, "action_dist": NumpyCategorical(logits.swapaxes(0, 1).reshape(logits.shape))}


class MixingInTraining(Recurrent):
    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        output = self._forward_exploration(batch)
        values = output["vf_preds"]
        return {**output, "vf_preds": values.T.reshape(values.shape)}


class SeedingWhenMade(Linear):
    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        np.random.seed(0)
        super().__init__(config)


class SeedingWhenCalled(Linear):
    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        random.seed(0)
        return self._forward_exploration(batch)


class Narrowing(Linear):
    """Puts an action space of its own in the place of the one that it was given."""

    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.config.action_space = spaces.Discrete(2, start=0, seed=1)
        self.config.observation_space = spaces.Box(-2, 2, (3,))


class Taking(Linear):
    """Takes a setting out of the config."""

    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.config.model_config_dict.pop("scale", None)


class TakingWhenCalled(Linear):
    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        self.config.model_config_dict["calls"] = [1]
        return self._forward_exploration(batch)


class Replacing(Linear):
    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(copy.copy(config))


class Unsaved(Linear):
    """Its checkpoint is refused, which its suite does not say."""

    def save_to_checkpoint(self, directory: Any) -> Any:
        raise CheckpointError("no")


FORWARD = r"promised: forward_\w+ takes "
BROKEN = {
    Draining: ("test_a_forward_leaves_the_batch_as_it_was", "train changed its batch"),
    Dropping: (
        "test_a_forward_leaves_the_batch_as_it_was",
        "inference added or removed columns of its batch",
    ),
    TooMany: (
        "test_acting_gives_an_action_distribution",
        r"exploration: action_dist is not over config.action_space, in 1 place\n  action: expected logits of "
        r"2 classes from 0, as Discrete\(2\) has them, got logits of 2 from 7\n  distribution_config\(action",
    ),
    TooManyInTraining: (
        "test_training_gives_a_distribution_over_the_same_actions_if_any",
        r"train: action_dist is not over config.action_space, in 1 place\n  action: expected logits of 2 "
        r"classes from 0, as Discrete\(2\) has them, got logits of 3 from 0\n",
    ),
    OneRowOnly: ("test_every_phase_takes_its_batch_of_any_size", "exploration: 1 actions for 5 rows"),
    OnlyDicts: ("test_a_batch_may_be_any_mapping_and_be_passed_by_keyword", FORWARD + "a read-only mapping"),
    Unchecked: (
        "test_a_batch_that_lacks_obs_or_has_other_sizes_is_refused_at_every_call",
        "exploration: a batch with no obs was not refused with SpecError",
    ),
    Specless: (
        "test_a_batch_that_lacks_obs_or_has_other_sizes_is_refused_at_every_call",
        "train: a batch with no obs was not refused with SpecError, but ended in KeyError: 'obs'",
    ),
    Mute: ("test_acting_gives_an_action_distribution", "action_dist: expected a Distribution, got str"),
    Crowd: (
        "test_inference_is_repeatable_and_rows_do_not_influence_each_other",
        "row 0 alone has another policy",
    ),
    CrowdExploring: (
        "test_exploration_depends_on_its_rows_and_the_generator_alone",
        "exploration: other rows change the policy of row 0",
    ),
    Counting: (
        "test_exploration_depends_on_its_rows_and_the_generator_alone",
        "exploration: the same batch and generator, another policy",
    ),
    Forgetful: ("test_a_stateful_module_returns_the_state_that_it_takes", "state_out has the shapes"),
    Foreseeing: (
        "test_all_steps_at_once_are_the_single_steps_with_the_state_carried_on",
        "exploration: step 0 of 5 at once is not that step alone",
    ),
    Insistent: (
        "test_all_steps_at_once_are_the_single_steps_with_the_state_carried_on",
        FORWARD + "steps without mask and is_first; it ended in KeyError: 'is_first'",
    ),
    Continuing: ("test_is_first_inside_a_sequence_is_a_fresh_start", "train: after is_first at step 1 row 0"),
    ContinuingInTraining: (
        "test_is_first_inside_a_sequence_is_a_fresh_start",
        "train: after is_first at step 1 row 0 is not as from the initial state",
    ),
    Unmasked: (
        "test_padding_on_the_right_changes_no_real_step_and_no_state",
        "train: state_out is not the state after the last real step",
    ),
    Averaging: (
        "test_padding_on_the_right_changes_no_real_step_and_no_state",
        "train: .* steps of padding change the outputs of . real ones",
    ),
    Exposed: ("test_the_state_is_nested_dicts_of_arrays_that_are_copies", "w is no copy"),
    Listed: ("test_the_state_is_nested_dicts_of_arrays_that_are_copies", "w is list, expected a NumPy array"),
    Partial: ("test_a_state_makes_another_module_act_the_same", "it acts differently"),
    Deaf: ("test_a_state_makes_another_module_act_the_same", "set_state did not take over w"),
    Eroding: ("test_acting_changes_no_weights", "exploration changed w"),
    Careless: (
        "test_a_state_that_does_not_fit_is_refused_and_changes_nothing",
        "a state with an unexpected entry was not refused with ValueError",
    ),
    Hasty: (
        "test_a_state_that_does_not_fit_is_refused_and_changes_nothing",
        "a state with an unexpected entry was refused, but changed the module",
    ),
    Sharing: (
        "test_copies_act_the_same_with_weights_of_their_own",
        "setting a copy's state changed the module that it was copied from",
    ),
    Lonely: ("test_it_is_a_multi_agent_module_of_one", "has the ids .*'another'"),
    Reusing: (
        "test_what_a_forward_gave_stays_as_it_is_when_others_run",
        "train: a later forward changed action_dist of an earlier one",
    ),
    ReusingInTraining: (
        "test_what_a_forward_gave_stays_as_it_is_when_others_run",
        "train: a later forward changed vf_preds of an earlier one",
    ),
    Flattened: (
        "test_acting_gives_an_action_distribution",
        r"exploration: actions of \[20\] rows and steps, expected \[20, 1\]",
    ),
    FlattenedInTraining: (
        "test_what_is_given_per_step_has_the_axes_of_the_batch",
        r"train: vf_preds is \[15\] for \[3, 5, \.\.\.\]",
    ),
    TimeMajorInTraining: (
        "test_what_is_given_per_step_has_the_axes_of_the_batch",
        r"train: vf_preds is \[5, 3\] for \[3, 5, \.\.\.\]",
    ),
    Mixing: (
        "test_all_steps_at_once_are_the_single_steps_with_the_state_carried_on",
        "exploration: step . of 5 at once is not that step alone",
    ),
    MixingInTraining: (
        "test_all_steps_at_once_are_the_single_steps_with_the_state_carried_on",
        "train: step . of 5 at once is not that step alone",
    ),
    SeedingWhenMade: ("test_nobody_seeds_the_generators_of_all", "the constructor seeds numpy.random: all"),
    SeedingWhenCalled: ("test_nobody_seeds_the_generators_of_all", "forward_inference seeds random: all"),
    Narrowing: (
        "test_the_config_stays_as_it_was_given",
        r"the constructor changed config\.observation_space: it is Box\(-2.0.*, was Box\(-1.0",
    ),
    Taking: (
        "test_the_config_stays_as_it_was_given",
        r"the constructor changed config\.model_config_dict: it is {}, was {'scale': 2}",
    ),
    TakingWhenCalled: (
        "test_the_config_stays_as_it_was_given",
        r"forward_train changed config\.model_config_dict: it is {.*'calls': \[1\]}, was {",
    ),
    Replacing: ("test_the_config_stays_as_it_was_given", "the constructor put another config in the place"),
    Unsaved: (
        "test_a_checkpoint_gives_a_module_that_acts_the_same",
        r"promised: it can be saved \(say saves = False .*CheckpointError: no",
    ),
}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [(cls, *broken) for cls, broken in BROKEN.items()],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_module_that_breaks_a_promise_fails_the_test_of_that_promise_in_its_words(
    cls: Any, test: str, words: str
) -> None:
    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            module: RLModule = cls(fresh_config())
            return module

    with pytest.raises(AssertionError, match=words):
        getattr(Suite(), test)()


def test_every_promise_is_broken_by_some_module_above() -> None:
    tests = {name for name in dir(RLModuleConformance) if name.startswith("test_")}
    assert tests == {test for test, _ in BROKEN.values()}


def test_exploring_with_noise_from_a_known_generator_keeps_the_promises() -> None:
    class Noisy(Linear):
        def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
            noise = np.random.normal(size=(len(batch["obs"]), 2))
            return {"action_dist": NumpyCategorical(batch["obs"] @ self.w + noise)}

        def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
            return {"action_dist": NumpyCategorical(batch["obs"] @ self.w)}

    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            return Noisy()

    Suite().test_exploration_depends_on_its_rows_and_the_generator_alone()


def test_a_module_that_says_it_cannot_be_saved_must_not_be() -> None:
    class Suite(TestLinear):
        saves = False

    with pytest.raises(AssertionError, match=r"saving \(saves = False\) was not refused"):
        Suite().test_a_checkpoint_gives_a_module_that_acts_the_same()


AXES, STEPWISE, EPISODES, PADDING = (
    "test_what_is_given_per_step_has_the_axes_of_the_batch",
    "test_all_steps_at_once_are_the_single_steps_with_the_state_carried_on",
    "test_is_first_inside_a_sequence_is_a_fresh_start",
    "test_padding_on_the_right_changes_no_real_step_and_no_state",
)


@pytest.mark.parametrize(
    ("cls", "broken"),
    [
        (Recurrent, set()),
        (FlattenedInTraining, {AXES}),
        (TimeMajorInTraining, {AXES, PADDING}),
        (Flattened, {AXES, STEPWISE, EPISODES, PADDING}),
        (Mixing, {STEPWISE, EPISODES, PADDING}),
        (MixingInTraining, {STEPWISE, EPISODES, PADDING}),
        (Foreseeing, {STEPWISE, EPISODES, PADDING}),
        (Insistent, {STEPWISE}),
        (Continuing, {EPISODES}),
        (ContinuingInTraining, {EPISODES}),
        (Unmasked, {PADDING}),
        (Averaging, {STEPWISE, EPISODES, PADDING}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_module_with_a_state_fails_just_the_promises_that_it_breaks(cls: Any, broken: set[str]) -> None:
    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            module: RLModule = cls()
            return module

    failed = set()
    for name in (AXES, STEPWISE, EPISODES, PADDING):
        try:
            getattr(Suite(), name)()
        except AssertionError:
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
