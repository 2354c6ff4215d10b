"""Many TensorFlow modules as one: a `tf.Module` that owns them, whoever wrote its class."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import MultiAgentRLModule, MultiAgentRLModuleSpec, SingleAgentRLModuleSpec
from rlmodule_specs import SpecError
from rlmodule_tf import TfCategorical, TfMultiAgentRLModule, TfRLModule, TfUpdater
from rlmodule_tf.bc_module import DiscreteBCTfModule

GLOBAL, HIDDEN = 2, 64
Layers = tf.keras.layers


class Head(TfRLModule):
    """A head of its own on an encoder that it is given; no layer knows its input size."""

    def __init__(self, encoder: Any, actions: int) -> None:
        super().__init__(config=None)
        self.encoder = encoder
        self.head = tf.keras.Sequential([Layers.Dense(HIDDEN, activation="relu"), Layers.Dense(actions)])

    def _forward_exploration(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        obs = batch["obs"]
        both = tf.concat([self.encoder(obs["global"]), obs["local"]], axis=-1)
        return {"action_dist": TfCategorical(self.head(both))}

    _forward_inference = _forward_exploration


class Neutral(MultiAgentRLModule):
    """Knows nothing of TensorFlow but what build() makes."""

    def build(self) -> None:
        self.encoder = tf.keras.Sequential([Layers.Dense(HIDDEN, activation="relu"), Layers.Dense(HIDDEN)])
        self._rl_modules = {
            key: Head(self.encoder, spec.action_space.n) for key, spec in self.config.modules.items()
        }


class Owner(Neutral, TfMultiAgentRLModule):
    """The same, of the class that says so."""


def recipe(local: int) -> SingleAgentRLModuleSpec:
    parts: dict[str, Any] = {"global": spaces.Box(-1, 1, (GLOBAL,)), "local": spaces.Box(-1, 1, (local,))}
    return SingleAgentRLModuleSpec(
        observation_space=spaces.Dict(parts), action_space=spaces.Discrete(local), model_config_dict={}
    )


def shared(cls: type[MultiAgentRLModule] = Neutral) -> Any:
    specs = {"local_2d": recipe(2), "local_5d": recipe(5)}
    return MultiAgentRLModuleSpec(marl_module_class=cls, module_specs=specs).build()


def batch(local: int, rows: int = 3) -> dict[str, Any]:
    return {"obs": {"global": tf.ones([rows, GLOBAL]), "local": tf.ones([rows, local])}}


def count(module: Any) -> int:
    return sum(int(np.prod(variable.shape)) for variable in module.trainable_variables)


def bc_spec(obs: int, hidden: int) -> SingleAgentRLModuleSpec:
    return SingleAgentRLModuleSpec(
        module_class=DiscreteBCTfModule,
        observation_space=spaces.Box(-1, 1, (obs,)),
        action_space=spaces.Discrete(2),
        model_config_dict={"fcnet_hiddens": [hidden]},
    )


def test_the_parameters_are_as_many_as_the_layers_have_by_hand() -> None:
    two = MultiAgentRLModuleSpec(module_specs={"a": bc_spec(10, 32), "b": bc_spec(5, 16)}).build()

    assert count(bc_spec(4, 64).build()) == (4 * 64 + 64) + (64 * 2 + 2) == 450
    assert [count(module) for module in two.values()] == [418, 130]
    assert isinstance(two, TfMultiAgentRLModule)
    assert count(two) == 548


@pytest.mark.parametrize("cls", [Neutral, Owner])
def test_a_shared_encoder_of_lazy_layers_is_built_at_once_and_counts_once(cls: Any) -> None:
    modules = shared(cls)

    assert isinstance(modules, tf.Module)
    assert isinstance(modules, cls)
    assert type(modules).__name__ == cls.__name__
    assert count(modules) == 13_575
    assert len(modules.variables) == 12
    assert modules.non_trainable_variables == ()
    assert count(modules["local_5d"]) == 13_575 - (66 * 64 + 64 + 64 * 2 + 2)


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("cls", [Neutral, Owner])
def test_copies_share_among_themselves_and_not_with_the_original(cls: Any, remake: Any) -> None:
    modules = shared(cls)
    other = remake(modules)

    assert type(other) is type(modules)
    assert count(other) == 13_575
    assert other["local_2d"].encoder is other["local_5d"].encoder
    for variable in other.variables:
        variable.assign(tf.zeros_like(variable))
    assert all(variable.numpy().any() for variable in modules.variables if variable.shape.rank == 2)
    assert not other["local_5d"].forward_inference(batch(5))["action_dist"].inputs.numpy().any()


class Loss(NamedTuple):
    total: tf.Tensor


def test_one_step_moves_shared_weights_once_and_the_survivor_of_a_removed_owner_still_learns() -> None:
    modules = shared()

    def loss(data: Mapping[str, Any], _: Any) -> Loss:
        outputs = [modules[key].forward_train(part)["action_dist"].inputs for key, part in data.items()]
        return Loss(tf.add_n([tf.reduce_sum(output) for output in outputs]))

    weight = modules.encoder.layers[0].kernel
    for data in ({"local_2d": batch(2), "local_5d": batch(5)}, {"local_5d": batch(5)}):
        before = weight.numpy()
        TfUpdater(modules, loss).step(data, {"lr": 1e-3})
        moved = np.abs(weight.numpy() - before).max()
        assert 0.9e-3 < moved <= 1.01e-3  # Adam's first step is lr; two of them would be more
        if "local_2d" in modules:
            modules.remove_module("local_2d")


def test_modules_come_and_go_under_any_id() -> None:
    modules = MultiAgentRLModule()
    for key in ("a.b", "variables", ""):
        modules.add_module(key, bc_spec(4, 8).build())

    assert isinstance(modules, tf.Module)
    assert count(modules) == 3 * 58
    modules.remove_module("variables")
    assert count(modules) == 2 * 58
    assert list(modules) == ["a.b", ""]


def test_a_checkpoint_keeps_what_is_shared(tmp_path: Path) -> None:
    modules = shared()
    path = modules.save_to_checkpoint(tmp_path / "c")

    loaded = Neutral.from_checkpoint(path)
    alone = Neutral.from_checkpoint(path, module_ids=["local_5d"])

    assert (path / "tensors.safetensors").stat().st_size < 4 * 13_575 + 2000
    assert count(loaded) == 13_575
    for key, local in (("local_2d", 2), ("local_5d", 5)):
        expected = modules[key].forward_inference(batch(local))["action_dist"].inputs
        np.testing.assert_allclose(
            loaded[key].forward_inference(batch(local))["action_dist"].inputs, expected, rtol=1e-6
        )
    np.testing.assert_allclose(
        alone["local_5d"].forward_inference(batch(5))["action_dist"].inputs, expected, rtol=1e-6
    )


class Coordinated(MultiAgentRLModule):
    """Holds a number that is none of its modules'."""

    def build(self) -> None:
        super().build()
        self.scale = tf.Variable(tf.ones([]))


def test_what_the_container_alone_owns_is_saved_and_set_too(tmp_path: Path) -> None:
    config = MultiAgentRLModuleSpec(marl_module_class=Coordinated, module_specs={"a": bc_spec(4, 8)})
    modules: Any = config.build()
    other: Any = config.build()
    modules.scale.assign(5.0)

    other.set_state(modules.get_state())
    loaded: Any = Coordinated.from_checkpoint(modules.save_to_checkpoint(tmp_path / "c"))

    assert set(modules.get_state()) == {"a", "__own__"}
    assert [float(again.scale) for again in (other, loaded)] == [5.0, 5.0]


def test_a_module_that_takes_the_place_of_another_is_not_built_for_the_others_recipe() -> None:
    modules = shared()

    modules.add_module("local_2d", Head(modules.encoder, 7), override=True)

    output = modules.forward_inference({"local_2d": batch(9)})["local_2d"]  # of another size
    assert output["action_dist"].inputs.shape == (3, 7)
    assert not Head(modules.encoder, 7).head.built


@pytest.mark.parametrize("kind", [Neutral, Owner])
def test_calling_the_container_itself_names_the_forwards(kind: type[MultiAgentRLModule]) -> None:
    modules = MultiAgentRLModuleSpec(marl_module_class=kind, module_specs={"a": recipe(5)}).build()

    with pytest.raises(
        TypeError, match=rf"^{kind.__name__} cannot be called itself: call forward_train\(batch\)"
    ):
        modules({"a": {}})


@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
def test_a_container_is_traced_once_for_all_batch_sizes_and_names_the_module_that_refuses_one(
    phase: str,
) -> None:
    modules = MultiAgentRLModuleSpec(module_specs={"a": bc_spec(4, 8), "b": bc_spec(5, 8)}).build()
    traces = []

    def logits(left: tf.Tensor, right: tf.Tensor) -> Any:
        traces.append(1)
        output = getattr(modules, f"forward_{phase}")({"a": {"obs": left}, "b": {"obs": right}})
        return [part["action_dist"].inputs for part in output.values()]

    known = tf.function(logits, input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([None, 5])])

    for rows in (3, 8, 5):
        assert [part.shape[0] for part in known(tf.ones([rows, 4]), tf.ones([rows, 5]))] == [rows, rows]
    assert len(traces) == 1
    with pytest.raises(SpecError, match=rf"^b: DiscreteBCTfModule\.forward_{phase}: the batch breaks"):
        tf.function(logits)(tf.ones([3, 4]), tf.ones([3, 6]))


def test_a_container_with_variables_that_forgets_super_is_told_to_call_it() -> None:
    class NoSuper(TfMultiAgentRLModule):
        def __init__(self, config: Any) -> None:
            self.scale = tf.Variable(tf.ones([]))

    with pytest.raises(TypeError, match=r"NoSuper\.__init__: .*call super\(\)\.__init__\(config\)"):
        MultiAgentRLModuleSpec(marl_module_class=NoSuper, module_specs={"a": bc_spec(4, 8)}).build()
