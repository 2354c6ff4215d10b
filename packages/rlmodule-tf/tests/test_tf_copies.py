"""Copies and pickles of TensorFlow modules: as many variables and ties as the original, none in common."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import MultiAgentRLModule, MultiAgentRLModuleSpec, RLModuleConfig, SingleAgentRLModuleSpec
from rlmodule_tf import TfCategorical, TfRLModule, bridge
from rlmodule_tf.bridge import to_tensors

Dense = keras.layers.Dense
CONFIG = RLModuleConfig(observation_space=spaces.Box(-1.0, 1.0, (4,)), action_space=spaces.Discrete(2))
BATCH = {"obs": to_tensors(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))}
WAYS: list[Callable[[Any], Any]] = [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))]


class OneNet(TfRLModule):
    """One network, that `net` makes."""

    net: Any

    def _forward_exploration(self, batch: Any) -> Any:
        return {"action_dist": TfCategorical(self.net(batch["obs"]))}

    _forward_inference = _forward_exploration


class SharedTrunk(OneNet):
    """One dense layer in two Sequentials."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        trunk = Dense(4)
        self.net = keras.Sequential([trunk, Dense(2)])
        self.vf = keras.Sequential([trunk, Dense(1)])

    def _forward_train(self, batch: Any) -> Any:
        return {**self._forward_exploration(batch), "vf_preds": self.vf(batch["obs"])}


class Subclassed(keras.Model):  # type: ignore[misc]  # untyped
    """A Keras model without `get_config`, whose argument Keras cannot write down."""

    def __init__(self, activation: Callable[[Any], Any]) -> None:
        super().__init__()
        self.first = Dense(8, activation=activation)
        self.blocks = [Dense(8), Dense(8)]
        self.drop = keras.layers.Dropout(0.5)
        self.last = Dense(2)

    def call(self, x: Any) -> Any:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(self.drop(x))


class OfAModel(OneNet):
    """Made of a model of one's own."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.net = Subclassed(keras.ops.abs)


class Functional(OneNet):
    """A deep graph with a fork and an operation that is no layer."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        given = x = keras.Input((4,))
        for _ in range(150):
            x = keras.ops.tanh(keras.layers.LayerNormalization()(x))
        self.net = keras.Model(given, Dense(2)(keras.layers.Concatenate()([x, given])))


class Frozen(OneNet):
    """An adapted normalisation and a frozen layer before one that learns."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        norm, frozen = keras.layers.Normalization(), Dense(3, trainable=False)
        norm.adapt(np.random.default_rng(1).normal(3.0, 5.0, (50, 4)))
        self.net = keras.Sequential([norm, frozen, Dense(2)])


def logits(module: Any) -> Any:
    return module.forward_inference(BATCH)["action_dist"].inputs.numpy()


@pytest.mark.parametrize("remake", WAYS, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize(
    ("cls", "variables", "learning"),
    [(SharedTrunk, 6, 6), (OfAModel, 9, 8), (Functional, 302, 302), (Frozen, 7, 2)],
)
def test_a_copy_has_as_many_variables_acts_the_same_and_has_weights_of_its_own(
    cls: Any, variables: int, learning: int, remake: Callable[[Any], Any]
) -> None:
    module = cls(CONFIG)
    assert (len(module.variables), len(module.trainable_variables)) == (variables, learning)

    other = remake(module)

    assert (len(other.variables), len(other.trainable_variables)) == (variables, learning)
    np.testing.assert_array_equal(logits(other), logits(module))
    assert not {id(variable) for variable in module.variables} & {id(each) for each in other.variables}
    before = logits(module)
    for variable in other.trainable_variables:
        variable.assign(variable * 0.0 + 0.3)
    np.testing.assert_array_equal(logits(module), before)
    assert not np.array_equal(logits(other), before)


@pytest.mark.parametrize("remake", WAYS, ids=["deepcopy", "pickle"])
def test_a_shared_layer_is_shared_in_the_copy_and_freezing_it_there_freezes_it(
    remake: Callable[[Any], Any],
) -> None:
    module = SharedTrunk(CONFIG)
    other = remake(module)

    assert other.net.layers[0] is other.vf.layers[0]
    other.net.layers[0].trainable = False
    assert len(other.trainable_variables) == 4
    assert len(module.trainable_variables) == 6


@pytest.mark.parametrize("remake", WAYS, ids=["deepcopy", "pickle"])
def test_keras_itself_can_use_what_was_copied(remake: Callable[[Any], Any]) -> None:
    net = remake(Functional(CONFIG)).net

    again = keras.models.clone_model(net)  # reads the graph
    again.set_weights(net.get_weights())

    np.testing.assert_array_equal(again(BATCH["obs"]), net(BATCH["obs"]))
    grown = remake(SharedTrunk(CONFIG)).net
    grown.add(Dense(3))
    assert grown(BATCH["obs"]).shape == (6, 3)
    assert len(grown.variables) == 6


class Child(TfRLModule):
    """An encoder that it is given, inside a Sequential of its own."""

    def __init__(self, encoder: Any) -> None:
        super().__init__(None)
        self.net = keras.Sequential([encoder, Dense(2)])

    _forward_exploration = OneNet._forward_exploration
    _forward_inference = OneNet._forward_exploration


class Many(MultiAgentRLModule):
    """Knows no framework."""

    def build(self) -> None:
        encoder = Dense(8)
        self._rl_modules = {key: Child(encoder) for key in self.config.modules}


@pytest.mark.parametrize("remake", WAYS, ids=["deepcopy", "pickle"])
def test_children_that_share_an_encoder_share_it_in_a_copy_of_their_container(
    remake: Callable[[Any], Any],
) -> None:
    recipe = SingleAgentRLModuleSpec(
        observation_space=CONFIG.observation_space, action_space=CONFIG.action_space, model_config_dict={}
    )
    modules: Any = MultiAgentRLModuleSpec(marl_module_class=Many, module_specs={"a": recipe, "b": recipe})
    modules = modules.build()
    assert len(modules.variables) == 6

    other = remake(modules)

    assert len(other.variables) == 6
    assert type(other) is type(modules)
    assert other["a"].net.layers[0] is other["b"].net.layers[0]


class WithThings(SharedTrunk):
    """Attributes that have nothing to do with Keras, and a say in what is copied of them."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.calls = 3
        self.scale = lambda x: 2 * x
        self.itself = self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "scale"}


@pytest.mark.parametrize("remake", WAYS, ids=["deepcopy", "pickle"])
def test_a_module_may_say_itself_what_is_copied(remake: Callable[[Any], Any]) -> None:
    other = remake(WithThings(CONFIG))

    assert other.calls == 3
    assert other.itself is other
    assert not hasattr(other, "scale")


class Regularized(OneNet):
    """Adds a loss at each call."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.net = keras.Sequential([Dense(2, activity_regularizer="l2"), keras.layers.Dropout(0.5)])


@pytest.mark.parametrize("remake", WAYS)
def test_a_module_that_was_compiled_is_copied_without_the_losses_of_its_graph(
    remake: Callable[[Any], Any],
) -> None:
    module = Regularized(CONFIG)
    bridge.call(module, "forward_train", BATCH)

    twin = remake(module)

    twin.forward_train(BATCH)
    assert len(twin.net.losses) == 1
    np.testing.assert_array_equal(
        twin.forward_inference(BATCH)["action_dist"].inputs,
        module.forward_inference(BATCH)["action_dist"].inputs,
    )


def test_a_shallow_copy_shares_the_layers() -> None:
    module = SharedTrunk(CONFIG)

    assert copy.copy(module).net is module.net


def test_what_cannot_be_pickled_is_refused_with_what_to_do() -> None:
    class Lambdas(SharedTrunk):
        def __init__(self, config: RLModuleConfig) -> None:
            super().__init__(config)
            self.scale = lambda x: 2 * x

    with pytest.raises(TypeError, match=r"Lambdas cannot be pickled: .*; its attributes .* one by one"):
        pickle.dumps(Lambdas(CONFIG))
