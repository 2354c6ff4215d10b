"""Layers that come into a TensorFlow module after its construction are in the mode of the phase."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import RLModuleConfig
from rlmodule_core.state import flatten_state
from rlmodule_tf import TfCategorical, TfRLModule

CONFIG = RLModuleConfig(observation_space=spaces.Box(-1.0, 1.0, (4,)), action_space=spaces.Discrete(2))
BATCH = {"obs": tf.ones([64, 4])}


class Held(TfRLModule):
    """Keras layers in a list and in a dict, called one after the other."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.parts: list[Any] = [keras.Sequential([keras.layers.Dense(2, bias_initializer="ones")])]
        self.named: dict[str, Any] = {"nested": [keras.Sequential([keras.layers.Dense(2)])]}

    def _forward_exploration(self, batch: Any) -> Any:
        x = batch["obs"]
        for part in [*self.parts, *self.named["nested"]]:
            x = part(x)
        for name, part in self.named.items():
            x = x if name == "nested" else part(x)
        return {"action_dist": TfCategorical(x)}

    _forward_inference = _forward_exploration


WAYS: dict[str, Callable[[Any], object]] = {
    "a Sequential in a list": lambda module: module.named["nested"][0].add(keras.layers.Dropout(0.5)),
    "a list in a dict": lambda module: module.named["nested"].append(keras.layers.Dropout(0.5)),
    "a dict": lambda module: module.named.update(drop=keras.layers.Dropout(0.5)),
    "an element exchanged": lambda module: module.named["nested"].__setitem__(
        0, keras.Sequential([keras.layers.Dense(2, bias_initializer="ones"), keras.layers.Dropout(0.5)])
    ),
}


def kept(module: Any, phase: str) -> float:
    logits = getattr(module, f"forward_{phase}")(BATCH)["action_dist"].inputs
    return float(tf.reduce_mean(tf.cast(logits != 0, tf.float32)))


@pytest.mark.parametrize("extend", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("remake", [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_dropout_that_is_put_into_a_container_later_drops_in_training_alone(
    extend: Callable[[Any], object], remake: Callable[[Any], Any]
) -> None:
    module = remake(Held(CONFIG))
    assert kept(module, "train") == 1.0  # nothing yet

    extend(module)

    assert 0.2 < kept(module, "train") < 0.8
    assert kept(module, "exploration") == kept(module, "inference") == 1.0


def test_a_layer_that_is_put_into_a_list_later_is_waited_for_and_then_in_the_state() -> None:
    module = Held(CONFIG)
    before = set(flatten_state(module.get_state()))
    module.parts.append(keras.layers.Dense(2))
    with pytest.raises(ValueError, match=r"parts\.1 have no variables yet"):
        module.get_state()

    module.forward_train(BATCH)

    assert set(flatten_state(module.get_state())) - before == {"parts.1.kernel", "parts.1.bias"}


@pytest.mark.parametrize("late", [False, True])
def test_training_looks_for_layers_without_variables_only_while_there_may_be_some(late: bool) -> None:
    looked = []

    class Looking(Held):
        def _unbuilt(self) -> list[str]:
            looked.append(True)
            return super()._unbuilt()

    module = Looking(CONFIG)
    module.parts.append(keras.layers.Dropout(0.5))
    if late:
        module.parts.append(keras.Sequential([keras.layers.Dense(2)]))
    for _ in range(3):
        module.forward_train(BATCH)
    looked.clear()

    module.forward_train(BATCH)

    assert not looked


def test_elements_that_cannot_be_compared_may_be_exchanged_and_a_layer_behind_them_is_seen() -> None:
    class Listing(TfRLModule):
        def __init__(self) -> None:
            super().__init__(CONFIG)
            self.offsets = [tf.Variable(tf.zeros([2]))]
            self.parts: list[Any] = []

        def _forward_exploration(self, batch: Any) -> Any:
            x = batch["obs"][:, :2]
            for part in self.parts:
                x = part(x)
            return {"action_dist": TfCategorical(x + self.offsets[0])}

        _forward_inference = _forward_exploration

    module = Listing()
    module.offsets[0] = tf.Variable(tf.zeros([2]))  # neither equal nor unequal to the one before
    assert kept(module, "train") == 1.0
    module.parts.append(keras.layers.Dropout(0.5))

    assert 0.2 < kept(module, "train") < 0.8


class Adding(keras.layers.Layer):  # type: ignore[misc]  # untyped
    """Adds a loss at each call."""

    def call(self, x: Any) -> Any:
        self.add_loss(tf.reduce_sum(x))
        return x


@pytest.mark.parametrize("remake", [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
@pytest.mark.parametrize("compiled", [False, True])
def test_what_keras_layers_add_as_losses_is_that_of_the_last_call(
    phase: str, compiled: bool, remake: Callable[[Any], Any]
) -> None:
    module = Held(CONFIG)
    layers = [keras.layers.Dense(2, activity_regularizer="l2"), Adding(), keras.layers.Dropout(0.5)]
    module.parts += [keras.Sequential(layers), Adding()]
    module = remake(module)
    forward: Any = getattr(module, f"forward_{phase}")
    run = tf.function(lambda obs: forward({"obs": obs})["action_dist"].inputs) if compiled else forward
    for rows in (3, 4, 5):
        run(tf.ones([rows, 4]) if compiled else {"obs": tf.ones([rows, 4])})

    assert [len(part.losses) for part in module.parts[-2:]] == [2, 1]


class OwnError(Exception):
    """Takes two arguments, so that nobody else can make one of its message."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize("error", [ValueError("my own message"), OwnError(1, 2), KeyError("goal")])
def test_an_error_in_a_train_forward_comes_out_as_it_is_and_the_mode_ends_with_it(error: Exception) -> None:
    class Failing(Held):
        fails = False

        def _forward_train(self, batch: Any) -> Any:
            if self.fails:
                raise error
            return self._forward_exploration(batch)

    module = Failing(CONFIG)
    module.parts.append(keras.layers.Dropout(0.5))
    module.fails = True
    with pytest.raises(type(error)) as raised:
        module.forward_train(BATCH)

    assert raised.value is error
    assert kept(module, "exploration") == 1.0


def test_a_train_forward_inside_another_layer_leaves_that_layers_mode() -> None:
    module = Held(CONFIG)
    module.named["nested"].append(keras.layers.Dropout(0.5))
    seen = []

    class Outer(keras.layers.Layer):  # type: ignore[misc]  # untyped
        def call(self, x: Any) -> Any:
            logits = module.forward_train({"obs": x})["action_dist"].inputs
            seen.append(float(tf.reduce_mean(tf.cast(logits != 0, tf.float32))))
            return keras.layers.Dropout(0.5)(x)

    after = Outer()(BATCH["obs"], training=False)

    assert 0.2 < seen[0] < 0.8
    assert float(tf.reduce_min(after)) == 1.0


class Norm(TfRLModule):
    """Drops and normalises: both differ in training."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.norm = keras.layers.BatchNormalization()
        self.drop = keras.layers.Dropout(0.5)

    def _forward_exploration(self, batch: Any) -> Any:
        if batch.get("fail") is not None:
            raise OwnError(1, 2)
        return {"action_dist": TfCategorical(self.drop(self.norm(batch["obs"])))}

    _forward_inference = _forward_exploration


def refers_to(target: Any, phase: str, batch_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What a loss does with a reference network, and then with a layer of its own."""
    own = keras.layers.Dropout(0.5)

    def forward(obs: Any) -> Any:
        try:
            reference = getattr(target, f"forward_{phase}")(batch_of(obs))["action_dist"].inputs
        except OwnError:
            reference = obs
        return reference, own(tf.ones_like(obs))

    return forward


class Learning(TfRLModule):
    """Calls a function in its train forward."""

    def __init__(self, forward: Callable[[Any], Any]) -> None:
        super().__init__(CONFIG)
        self.drop = keras.layers.Dropout(0.5)
        self.forward = forward

    def _forward_train(self, batch: Any) -> Any:
        reference, after = self.forward(batch["obs"])
        return {"action_dist": TfCategorical(reference), "after": after}

    def _forward_exploration(self, batch: Any) -> Any:
        return {"action_dist": TfCategorical(batch["obs"])}

    _forward_inference = _forward_exploration


def in_a_train_forward(forward: Callable[[Any], Any]) -> Callable[[Any], Any]:
    module = Learning(forward)

    def run(obs: Any) -> Any:
        output = module.forward_train({"obs": obs})
        return output["action_dist"].inputs, output["after"]

    return run


def in_a_layer(forward: Callable[[Any], Any]) -> Callable[[Any], Any]:
    class Outer(keras.layers.Layer):  # type: ignore[misc]  # untyped
        def call(self, x: Any) -> Any:
            return forward(x)

    layer = Outer()
    return lambda obs: layer(obs, training=True)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("phase", ["exploration", "inference"])
@pytest.mark.parametrize("around", [in_a_train_forward, in_a_layer])
def test_a_network_that_acts_inside_training_is_in_inference_mode_and_the_training_goes_on_after_it(
    around: Callable[[Any], Any], phase: str, compiled: bool, fails: bool
) -> None:
    target = Norm(CONFIG)
    weights = flatten_state(target.get_state())
    obs = 3.0 * tf.ones([64, 4])
    expected = getattr(target, f"forward_{phase}")({"obs": obs})["action_dist"].inputs
    forward = refers_to(target, phase, lambda obs: {"obs": obs, **({"fail": obs} if fails else {})})
    run = around(forward)

    reference, after = (tf.function(run) if compiled else run)(obs)

    tf.debugging.assert_equal(reference, obs if fails else expected)
    assert 0.2 < float(tf.reduce_mean(tf.cast(after != 0, tf.float32))) < 0.8
    now = flatten_state(target.get_state())
    assert all((now[name] == array).all() for name, array in weights.items())
    assert kept(target, "inference") == 1.0


def test_keras_still_keeps_the_mode_of_a_call_where_we_read_and_write_it() -> None:
    """All that we use of Keras which is not public; a version that moves it fails here, by name."""
    from keras.src.backend.common import global_state

    found = []

    class Asking(tf.keras.layers.Layer):  # type: ignore[type-arg]
        def call(self, x: tf.Tensor) -> tf.Tensor:
            context = global_state.GLOBAL_STATE_TRACKER.__dict__["current_call_ctx"]
            found.append((context is self._get_call_context(), context.get_value("training")))
            context.set_value("training", False)
            found.append((True, self._get_call_context().get_value("training")))
            return x

    Asking()(tf.zeros([1]), training=True)

    assert found == [(True, True), (True, False)]
    assert global_state.GLOBAL_STATE_TRACKER.__dict__.get("current_call_ctx") is None
    assert callable(Asking()._maybe_reset_call_context)
    assert callable(Asking()._clear_losses)
    assert tf.keras.Sequential([Asking()])._layers


def test_a_mode_that_a_layer_is_told_holds_for_those_called_after_it_as_anywhere_in_keras() -> None:
    class Telling(TfRLModule):
        def __init__(self) -> None:
            super().__init__(CONFIG)
            self.told, self.after = tf.keras.layers.Dropout(0.9), tf.keras.layers.Dropout(0.9)

        def _forward_exploration(self, batch: Any, **mode: bool) -> Any:
            self.told(batch["obs"], training=False)
            return {"action_dist": TfCategorical(self.after(batch["obs"], **mode))}

        _forward_inference = _forward_exploration

    module, batch = Telling(), {"obs": tf.ones([64, 4])}

    assert tf.reduce_all(module.forward_train(batch)["action_dist"].inputs == 1.0)  # docs/modules.md says so
    assert not tf.reduce_all(module.forward_train(batch, training=True)["action_dist"].inputs == 1.0)
