"""Which variables learn, what they are called, and what is derived from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import MultiAgentRLModule, RLModuleConfig, register_class
from rlmodule_core.state import flatten_state
from rlmodule_tf import TfCategorical, TfRLModule, TfUpdater, bridge

Dense = keras.layers.Dense
CONFIG = RLModuleConfig(observation_space=spaces.Box(-1.0, 1.0, (4,)), action_space=spaces.Discrete(2))
OBS = tf.constant(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))


@register_class
class Net(TfRLModule):
    """Two dense layers, the first in a Sequential of its own."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.make_net()

    def make_net(self) -> None:
        self.enc: Any = keras.Sequential([keras.Input((4,)), Dense(8)])
        self.net: Any = keras.Sequential([self.enc, Dense(2)])

    def _forward_exploration(self, batch: Any) -> Any:
        return {"action_dist": TfCategorical(self.net(batch["obs"]))}

    _forward_inference = _forward_exploration


class FrozenWhenBuilt(Net):
    """A built encoder is frozen before it becomes a part."""

    def make_net(self) -> None:
        self.enc = keras.Sequential([keras.Input((4,)), Dense(8)])
        self.enc.trainable = False
        self.net = keras.Sequential([self.enc, Dense(2)])


class FrozenUnbuilt(Net):
    """A layer is frozen that has no variables yet."""

    def make_net(self) -> None:
        self.enc = Dense(8, trainable=False)
        self.net = keras.Sequential([self.enc, Dense(2)])


def frozen_later() -> Net:
    module = Net(CONFIG)
    assert len(module.trainable_variables) == 4
    module.enc.trainable = False
    return module


class Loss(NamedTuple):
    total: tf.Tensor


@pytest.mark.parametrize(
    "make", [lambda: FrozenWhenBuilt(CONFIG), lambda: FrozenUnbuilt(CONFIG), frozen_later]
)
def test_a_frozen_keras_layer_is_not_among_what_learns_and_no_step_moves_it(make: Callable[[], Any]) -> None:
    module = make()
    assert [tuple(variable.shape) for variable in module.trainable_variables] == [(8, 2), (2,)]
    assert [tuple(variable.shape) for variable in module.non_trainable_variables] == [(4, 8), (8,)]
    assert len(module.variables) == 4
    before = [variable.numpy() for variable in module.variables]

    def loss(batch: Mapping[str, Any], _: Any) -> Loss:
        return Loss(-tf.reduce_mean(module.forward_train(batch)["action_dist"].logp(batch["actions"])))

    TfUpdater(module, loss).step({"obs": OBS, "actions": tf.zeros([6], tf.int64)}, {"lr": 0.1})

    moved = [
        not np.array_equal(variable.numpy(), old)
        for variable, old in zip(module.variables, before, strict=True)
    ]
    assert moved == [False, False, True, True]
    module.enc.trainable = True
    assert len(module.trainable_variables) == 4


# --- names ------------------------------------------------------------------------------------


class Underscored(keras.layers.Layer):  # type: ignore[misc]  # untyped
    """Attributes that differ in an underscore alone."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(4, 2))
        self._w = self.add_weight(shape=(2,))
        self._b = self.add_weight(shape=(2,))

    def call(self, x: Any) -> Any:
        return x @ self.w + self._w + self._b


def test_attributes_that_differ_in_an_underscore_are_both_in_the_state_and_others_lose_it() -> None:
    class Module(Net):
        def make_net(self) -> None:
            self.net = Underscored()

    one, two = Module(CONFIG), Module(CONFIG)
    assert list(flatten_state(one.get_state())) == ["net.w", "net._w", "net.b"]

    two.set_state(one.get_state())

    for mine, other in zip(one.variables, two.variables, strict=True):
        np.testing.assert_array_equal(other, mine)


def test_two_variables_of_one_name_are_refused_instead_of_one_of_them_lost() -> None:
    class Twice(Net):
        def make_net(self) -> None:
            super().make_net()
            self.held = {"a.b": tf.Variable(tf.ones([])), "a": {"b": tf.Variable(tf.ones([]))}}

    with pytest.raises(ValueError, match=r"Twice: two variables have the name 'held\.a\.b'.*rename"):
        Twice(CONFIG).get_state()


@pytest.mark.parametrize("name", ["variables", "trainable_variables", "submodules"])
def test_an_attribute_that_the_base_computes_is_refused_with_what_to_do(name: str) -> None:
    class Taken(Net):
        def make_net(self) -> None:
            setattr(self, name, "mine")

    with pytest.raises(AttributeError, match=rf"Taken: self\.{name} cannot be set, .*another name"):
        Taken(CONFIG)

    class Many(MultiAgentRLModule):
        def build(self) -> None:
            setattr(self, name, "mine")
            self._rl_modules = {"a": Net(CONFIG)}

    with pytest.raises(AttributeError, match=rf"Many: self\.{name} cannot be set"):
        Many()


def test_the_device_of_a_module_cannot_be_set_and_the_error_says_what_it_is() -> None:
    with pytest.raises(ValueError, match=r"Net\.device cannot be set: it says where the weights are"):
        Net(CONFIG).device = "CPU:0"  # type: ignore[assignment]


def test_a_module_and_a_container_may_have_a_name() -> None:
    class Named(Net):
        def make_net(self) -> None:
            super().make_net()
            self.name = "pi"

    class Many(MultiAgentRLModule):
        def build(self) -> None:
            self.name: str = "team"
            self._rl_modules = {"a": Named(CONFIG)}

    many = Many()
    assert (many.name, many["a"].name) == ("team", "pi")  # type: ignore[attr-defined]


# --- what Keras derives from variables --------------------------------------------------------


@register_class
class Normalizing(Net):
    """A normalisation, which keeps what it computes from its variables."""

    def make_net(self) -> None:
        self.norm = keras.layers.Normalization()
        self.norm.build((None, 4))
        self.net = keras.Sequential([self.norm, Dense(2)])


def adapted() -> Normalizing:
    module = Normalizing(CONFIG)
    module.norm.adapt(np.random.default_rng(1).normal(3.0, 5.0, (50, 4)))
    return module


def logits(module: Any) -> Any:
    return module.forward_inference({"obs": OBS})["action_dist"].inputs.numpy()


def test_an_adapted_normalisation_comes_back_from_a_state_and_from_a_checkpoint(tmp_path: Path) -> None:
    module, other = adapted(), Normalizing(CONFIG)

    other.set_state(module.get_state())

    np.testing.assert_array_equal(logits(other), logits(module))
    loaded = Normalizing.from_checkpoint(module.save_to_checkpoint(tmp_path / "c"))
    np.testing.assert_array_equal(logits(loaded), logits(module))


def test_a_compiled_forward_and_a_compiled_step_see_the_new_normalisation() -> None:
    module, other = adapted(), Normalizing(CONFIG)

    def loss(batch: Mapping[str, Any], _: Any) -> Loss:
        return Loss(tf.reduce_sum(other.forward_train(batch)["action_dist"].inputs))

    updater = TfUpdater(other, loss)
    batch = {"obs": OBS}
    bridge.call(other, "forward_inference", batch)
    updater.step(batch, {"lr": 0.0})

    other.set_state(module.get_state())

    compiled = bridge.call(other, "forward_inference", batch)["action_dist"].inputs
    np.testing.assert_allclose(compiled, logits(module), rtol=1e-6)
    step = updater.step(batch, {"lr": 0.0})
    np.testing.assert_allclose(step.loss.total, logits(module).sum(), rtol=1e-5)


def test_a_layer_of_the_container_alone_is_finalized_too() -> None:
    class Many(MultiAgentRLModule):
        def build(self) -> None:
            self.norm: Any = keras.layers.Normalization()
            self.norm.build((None, 4))
            self._rl_modules = {"a": Net(CONFIG)}

    one, other = Many(), Many()
    one.norm.adapt(np.random.default_rng(1).normal(3.0, 5.0, (50, 4)))

    other.set_state(one.get_state())

    np.testing.assert_array_equal(other.norm(OBS), one.norm(OBS))
