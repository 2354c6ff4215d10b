"""The contract of TfRLModule, on modules written as users write them."""

from __future__ import annotations

from typing import Any, NamedTuple, Never

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import Output, RLModuleConfig
from rlmodule_core.module import Batch
from rlmodule_core.state import flatten_state
from rlmodule_specs import SpecError
from rlmodule_tf import TfCategorical, TfRLModule, TfUpdater

CONFIG = RLModuleConfig(
    observation_space=spaces.Box(-1.0, 1.0, (4,)),
    action_space=spaces.Discrete(2),
    model_config_dict={"fcnet_hiddens": [64]},
)


class KerasModule(TfRLModule):
    """Layers without input shape, and one forward for all phases."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.policy = tf.keras.Sequential(
            [tf.keras.layers.Dense(64, activation="relu"), tf.keras.layers.Dense(2)]
        )

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": TfCategorical(self.policy(batch["obs"]))}

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_train(batch)

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_train(batch)


def observations(N: int = 3) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32))


# --- variables --------------------------------------------------------------------------------


def test_layers_that_are_built_when_first_called_have_their_variables_after_construction() -> None:
    module = KerasModule(CONFIG)

    shapes = [tuple(variable.shape) for variable in module.trainable_variables]
    assert shapes == [(4, 64), (64,), (64, 2), (2,)]
    assert sum(array.size for array in flatten_state(module.get_state()).values()) == 450


def test_a_layer_that_only_acting_uses_is_built_too() -> None:
    class Two(KerasModule):
        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.extra = tf.keras.layers.Dense(1)

        def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
            self.extra(batch["obs"])
            return self._forward_train(batch)

    assert "extra.kernel" in flatten_state(Two(CONFIG).get_state())


def test_a_module_with_state_is_built_on_one_step_with_its_state() -> None:
    class Recurrent(KerasModule):
        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.lstm = tf.keras.layers.LSTM(3, return_sequences=True, return_state=True)

        def get_initial_state(self) -> dict[str, Any]:
            return {"h": np.zeros(3, np.float32), "c": np.zeros(3, np.float32)}

        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            state = batch["state_in"]
            x, h, c = self.lstm(batch["obs"], initial_state=[state["h"], state["c"]])
            return {"action_dist": TfCategorical(self.policy(x)), "state_out": {"h": h, "c": c}}

    module = Recurrent(CONFIG)
    names = list(flatten_state(module.get_state()))

    assert module.is_stateful()
    assert names[4:7] == ["lstm.cell.kernel", "lstm.cell.recurrent_kernel", "lstm.cell.bias"]


def test_variables_are_listed_once_each_wherever_they_are_held() -> None:
    class Mixed(KerasModule):
        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.again = self.policy
            self.held = {"list": [tf.Variable(tf.ones([])), tf.Variable(tf.ones([]), trainable=False)]}
            self.circle = self
            self.norm = tf.keras.layers.BatchNormalization()

        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            return {"action_dist": TfCategorical(self.policy(self.norm(batch["obs"])))}

    module = Mixed(CONFIG)

    assert len(module.variables) == 4 + 2 + 4
    assert len(module.trainable_variables) == 4 + 1 + 2
    assert len(module.non_trainable_variables) == 3
    assert len({id(variable) for variable in module.variables}) == len(module.variables)


def test_a_layer_that_no_forward_calls_is_named_instead_of_left_out_of_the_variables() -> None:
    class Valued(KerasModule):
        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.vf = tf.keras.layers.Dense(1)

    module = Valued(CONFIG)
    with pytest.raises(ValueError, match="Valued: vf have no variables yet: no forward has called them"):
        module.get_state()
    module.vf(observations())
    assert len(module.variables) == 6


def test_without_a_space_the_variables_are_refused_until_a_forward_has_made_them() -> None:
    module = KerasModule(RLModuleConfig())
    with pytest.raises(ValueError, match=r"policy, policy\.0, policy\.1 have no variables yet"):
        _ = module.trainable_variables

    module.forward_inference({"obs": observations()})

    assert len(module.trainable_variables) == 4


def test_a_module_that_observes_words_has_its_variables_after_construction_too() -> None:
    class OfLetters(KerasModule):
        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            counts = tf.cast(tf.strings.length(batch["obs"]["word"]), tf.float32)
            return {"action_dist": TfCategorical(self.policy(counts[:, None]))}

    words = spaces.Dict({"word": spaces.Text(4), "point": spaces.Box(-1, 1, (2,))})
    module = OfLetters(RLModuleConfig(observation_space=words, action_space=spaces.Discrete(2)))
    assert len(module.variables) == 4


def test_a_forward_that_fails_on_zeros_is_an_error_that_names_the_layers() -> None:
    class Failing(KerasModule):
        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            raise KeyError("goals")

    with pytest.raises(
        ValueError, match=r"Failing: its forwards .* policy.* failed: KeyError: 'goals'; mend"
    ):
        Failing(CONFIG)


# --- state ------------------------------------------------------------------------------------


def test_the_state_has_readable_names_that_no_counter_of_keras_changes() -> None:
    names = [list(flatten_state(KerasModule(CONFIG).get_state())) for _ in range(2)]

    assert names[0] == ["policy.0.kernel", "policy.0.bias", "policy.1.kernel", "policy.1.bias"]
    assert names[1] == names[0]


def test_a_state_makes_another_module_act_the_same_without_replacing_its_variables() -> None:
    one, two = KerasModule(CONFIG), KerasModule(CONFIG)
    held = two.variables
    batch = {"obs": observations()}
    expected = one.forward_inference(batch)["action_dist"].inputs
    assert not np.allclose(two.forward_inference(batch)["action_dist"].inputs, expected)

    two.set_state(one.get_state())

    np.testing.assert_array_equal(two.forward_inference(batch)["action_dist"].inputs, expected)
    assert all(a is b for a, b in zip(two.variables, held, strict=True))


def test_the_state_is_a_copy() -> None:
    module = KerasModule(CONFIG)
    state = flatten_state(module.get_state())
    state["policy.0.bias"] += 1.0

    assert not flatten_state(module.get_state())["policy.0.bias"].any()


def test_a_state_that_does_not_fit_is_refused_with_all_reasons_before_anything_changes() -> None:
    module = KerasModule(CONFIG)
    before = flatten_state(module.get_state())
    state = KerasModule(CONFIG).get_state()
    state["policy"]["1"]["kernel"] = np.zeros((2, 64), np.float32)
    state["policy"]["2"] = {"bias": np.zeros(2, np.float32)}
    del state["policy"]["1"]["bias"]

    with pytest.raises(ValueError, match="does not fit") as error:
        module.set_state(state)

    for part in ("policy.1.bias is missing", "policy.2.bias is not expected", "has shape (2, 64)"):
        assert part in str(error.value)
    for name, array in flatten_state(module.get_state()).items():
        np.testing.assert_array_equal(array, before[name])


# --- phases -----------------------------------------------------------------------------------


def test_a_class_without_a_forward_cannot_be_built_and_the_error_names_it() -> None:
    class Half(TfRLModule):
        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            return {}

        def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
            return {}

    with pytest.raises(TypeError, match="Half cannot be built: it lacks _forward_inference"):
        Half(CONFIG)  # type: ignore[abstract]


@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
def test_an_observation_of_the_wrong_size_or_framework_is_refused_before_the_forward(phase: str) -> None:
    forward = getattr(KerasModule(CONFIG), f"forward_{phase}")

    with pytest.raises(SpecError, match=rf"KerasModule\.forward_{phase}"):
        forward({"obs": tf.zeros([3, 5])})
    with pytest.raises(SpecError, match="numpy"):
        forward({"obs": np.zeros((3, 4), np.float32)})


def test_acting_without_an_action_distribution_is_refused() -> None:
    class Silent(KerasModule):
        def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
            return {"actions": batch["obs"]}

    with pytest.raises(SpecError, match="action_dist"):
        Silent(CONFIG).forward_inference({"obs": observations()})


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("phase", "carries"), [("train", True), ("exploration", False), ("inference", False)]
)
def test_only_training_carries_a_gradient_under_an_outer_tape(
    phase: str, carries: bool, compiled: bool
) -> None:
    module = KerasModule(CONFIG)

    def gradients(obs: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            output = getattr(module, f"forward_{phase}")({"obs": obs})
            loss = tf.reduce_sum(output["action_dist"].inputs ** 2)
        return tape.gradient(loss, module.trainable_variables)

    found = (tf.function(gradients) if compiled else gradients)(observations())

    assert [gradient is not None for gradient in found] == [carries] * 4


class Product(TfRLModule):
    """One product, so that no layer of Keras may care for the mode, and the acting forwards ask for less."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.weight = tf.Variable(tf.ones([4, 2]))

    def _forward_exploration(self, batch: Batch, scale: float = 1.0) -> Output:
        return {"action_dist": TfCategorical(scale * tf.matmul(batch["obs"], self.weight))}

    def _forward_inference(self, batch: Batch, scale: float = 1.0) -> Output:
        return self._forward_exploration(batch, scale)


acting = pytest.mark.parametrize("phase", ["exploration", "inference"])
either = pytest.mark.parametrize("made", [KerasModule, Product])


@acting
@either
def test_a_graph_that_was_traced_before_a_tape_recorded_carries_no_gradient_under_one(
    made: type[TfRLModule], phase: str
) -> None:
    module = made(CONFIG)
    forward = getattr(module, f"forward_{phase}")
    graph = tf.function(lambda obs: forward({"obs": obs})["action_dist"].inputs)
    graph(observations())

    with tf.GradientTape() as tape:
        logits = graph(observations())

    assert all(found is None for found in tape.gradient(logits, module.trainable_variables))


@acting
@either
def test_acting_under_a_tape_carries_no_gradient_though_no_mode_matters(
    made: type[TfRLModule], phase: str
) -> None:
    module = made(CONFIG)

    with tf.GradientTape() as tape:
        logits = getattr(module, f"forward_{phase}")({"obs": observations()})["action_dist"].inputs

    assert all(found is None for found in tape.gradient(logits, module.trainable_variables))


@acting
def test_keyword_arguments_reach_the_forward_of_a_module_whose_mode_does_not_matter(phase: str) -> None:
    forward = getattr(Product(CONFIG), f"forward_{phase}")
    batch = {"obs": observations()}

    once, twice = (forward(batch, scale=scale)["action_dist"].inputs for scale in (1.0, 2.0))

    tf.debugging.assert_equal(2.0 * once, twice)


@acting
@either
def test_acting_outside_of_all_that_records_traces_or_trains_goes_straight_to_the_forward(
    made: type[TfRLModule], phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, batch = made(CONFIG), {"obs": observations()}
    tf.keras.layers.Dense(2)(observations())  # after which Keras keeps a word of a call that there was

    def the_long_way(*given: object) -> Never:
        raise AssertionError(given)

    monkeypatch.setattr(made, "_in_acting", the_long_way)

    assert getattr(module, f"forward_{phase}")(batch)["action_dist"].inputs.shape == (3, 2)


class Pair(NamedTuple):
    """A kind of tuple that a forward may return."""

    one: Any
    two: Any


@pytest.mark.parametrize("phase", ["exploration", "inference"])
def test_no_output_of_acting_carries_a_gradient_in_a_graph_in_whatever_it_lies(phase: str) -> None:
    class Nested(KerasModule):
        def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
            x = self.policy(batch["obs"])
            more = {"list": [x, {"deep": (x,)}], "pair": Pair(x, 3), "tuple": (x, "a word")}
            return {"action_dist": TfCategorical(x), **more}

        _forward_inference = _forward_exploration

    module = Nested(CONFIG)

    @tf.function  # type: ignore[untyped-decorator]
    def gradients(obs: tf.Tensor) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            output = getattr(module, f"forward_{phase}")({"obs": obs})
            assert isinstance(output["pair"], Pair)
            assert output["tuple"][1] == "a word"
            assert isinstance(output["list"], list)
            (one, two), three = output["list"], output["tuple"][0]
            tensors = [one, two["deep"][0], three, output["pair"].one]
        return [tape.gradient(tensor, module.trainable_variables) for tensor in tensors]

    assert [list(found) for found in gradients(observations())] == [[None] * 4] * 4


def test_keras_layers_are_in_train_mode_in_training_alone() -> None:
    class Noisy(KerasModule):
        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.dropout = tf.keras.layers.Dropout(0.5)

        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            return {"action_dist": TfCategorical(self.dropout(tf.ones([100, 2])))}

    module = Noisy(CONFIG)
    kept = {
        phase: float(
            tf.reduce_mean(tf.cast(forward({"obs": observations()})["action_dist"].inputs != 0, tf.float32))
        )
        for phase, forward in (
            ("train", module.forward_train),
            ("exploration", module.forward_exploration),
            ("inference", module.forward_inference),
        )
    }

    assert 0.3 < kept.pop("train") < 0.7
    assert kept == {"exploration": 1.0, "inference": 1.0}


def test_a_layer_exchanged_later_is_in_the_mode_of_the_phase_and_its_variables_count() -> None:
    module = KerasModule(CONFIG)
    module.policy = tf.keras.Sequential([tf.keras.layers.Dense(2), tf.keras.layers.Dropout(0.5)])
    with pytest.raises(ValueError, match="have no variables yet"):
        _ = module.variables

    kept = module.forward_train({"obs": observations(64)})["action_dist"].inputs.numpy() != 0

    assert 0.3 < kept.mean() < 0.7
    assert (module.forward_inference({"obs": observations(64)})["action_dist"].inputs.numpy() != 0).all()
    assert [tuple(variable.shape) for variable in module.variables[:2]] == [(4, 2), (2,)]


def test_an_updater_trains_keras_layers_and_moves_their_statistics_in_the_compiled_step() -> None:
    class Normalized(KerasModule):
        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.policy = tf.keras.Sequential(
                [tf.keras.layers.BatchNormalization(), tf.keras.layers.Dropout(0.1), tf.keras.layers.Dense(2)]
            )

    class Loss(NamedTuple):
        total: tf.Tensor

    module = Normalized(CONFIG)
    obs = observations(64) + 3.0
    batch = {"obs": obs, "actions": tf.cast(obs[:, 0] > 3.0, tf.int64)}
    updater = TfUpdater(
        module,
        lambda batch, _: Loss(
            -tf.reduce_mean(module.forward_train(batch)["action_dist"].logp(batch["actions"]))
        ),
    )
    losses = [float(updater.step(batch, {"lr": 0.01}).loss.total) for _ in range(200)]

    assert np.mean(losses[-20:]) < 0.5 * losses[0]
    moving_mean = flatten_state(module.get_state())["policy.0.moving_mean"]
    np.testing.assert_allclose(moving_mean, tf.reduce_mean(obs, axis=0), rtol=0.2)


def test_a_forward_in_a_tf_function_is_checked_and_traced_once_for_all_batch_sizes() -> None:
    module = KerasModule(CONFIG)
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, 4])])  # type: ignore[untyped-decorator]
    def act(obs: tf.Tensor) -> Any:
        traces.append(1)
        return module.forward_inference({"obs": obs})["action_dist"].inputs

    for size in (3, 8, 5):
        assert act(observations(size)).shape == (size, 2)
    assert len(traces) == 1


class Exploring(TfRLModule):
    """Trains on what it explores with, by default."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.weight = tf.Variable(tf.zeros([4, 2]))

    def _forward_exploration(self, batch: Any) -> Output:
        return {"action_dist": TfCategorical(tf.matmul(batch["obs"], self.weight)), "by": "exploring"}

    _forward_inference = _forward_exploration


def trained_by(module: Exploring) -> object:
    return module.forward_train({"obs": observations()})["by"]


def test_a_forward_that_is_set_later_is_the_one_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Exploring(CONFIG), Exploring(CONFIG)
    assert trained_by(one) == "exploring"

    monkeypatch.setattr(one, "_forward_exploration", lambda batch: {"by": "what the object explores with"})
    assert (trained_by(one), trained_by(other)) == ("what the object explores with", "exploring")
    monkeypatch.setattr(one, "_forward_train", lambda batch: {"by": "the object"})
    assert (trained_by(one), trained_by(other)) == ("the object", "exploring")
    monkeypatch.setattr(Exploring, "_forward_train", lambda self, batch: {"by": "the class"})
    assert (trained_by(one), trained_by(other)) == ("the object", "the class")

    monkeypatch.undo()
    assert (trained_by(one), trained_by(other)) == ("exploring", "exploring")


def test_a_forward_that_is_set_in_the_constructor_is_the_one_that_trains() -> None:
    def own(batch: Any, /, *args: Any, **kwargs: Any) -> Output:
        return {"by": "the constructor"}

    class Setting(Exploring):
        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self._forward_train = own  # type: ignore[method-assign]

    assert trained_by(Setting(CONFIG)) == "the constructor"


def test_an_override_that_calls_the_default_trains_on_what_its_own_class_explores_with() -> None:
    class Adding(Exploring):
        def _forward_train(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output:
            return {**super()._forward_train(batch), "added": True}

    class Below(Adding):
        def _forward_exploration(self, batch: Any) -> Output:
            return {"by": "the class below"}

    assert Below(CONFIG).forward_train({"obs": observations()}) == {"by": "the class below", "added": True}


def test_calling_the_module_itself_names_the_forwards() -> None:
    with pytest.raises(TypeError, match=r"^KerasModule cannot be called itself: call forward_train\(batch\)"):
        KerasModule(CONFIG)({"obs": tf.zeros([2, 4])})


def test_a_public_forward_cannot_be_set_on_an_object() -> None:
    module: Any = KerasModule(CONFIG)
    with pytest.raises(TypeError, match=r"forward_inference cannot be set.*override _forward_inference"):
        module.forward_inference = lambda batch: {}


def test_an_initial_state_of_tensors_is_refused_when_the_module_is_made() -> None:
    class Remembering(KerasModule):
        def get_initial_state(self) -> dict[str, Any]:
            return {"h": tf.zeros([3])}

    with pytest.raises(
        ValueError, match=r"h: expected a NumPy array of numbers, got tensorflow.*EagerTensor"
    ):
        Remembering(CONFIG)
