"""Layers, the builder, and the default module that is made of them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import (
    ActorCriticEncoderConfig,
    DistributionConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    ModelConfig,
    RLModuleConfig,
    distribution_config,
    initial_weights_from,
)
from rlmodule_core.state import flatten_state
from rlmodule_specs import SpecType
from rlmodule_tf import TfActorCriticEncoder, TfActorCriticModule, TfMLPEncoder, TfMLPHead
from rlmodule_tf.builder import build

OBS_SPACE = spaces.Box(-1.0, 1.0, (4,))
ENCODER = MLPEncoderConfig(input_dim=4, hidden=(8, 6))


class SmallCatalog:
    """One small decision for each part."""

    masks_actions = False

    def __init__(self, observation_space: Any, action_space: Any, model_config_dict: dict[str, Any]) -> None:
        self.space = action_space
        self.settings = model_config_dict

    def get_normalizer_config(self) -> None:
        return None

    def get_encoder_config(self) -> ModelConfig:
        return ENCODER

    def get_actor_critic_encoder_config(self) -> ModelConfig:
        return ActorCriticEncoderConfig(base=ENCODER, shared=self.settings.get("shared", False))

    def get_pi_head_config(self) -> ModelConfig:
        if isinstance(self.space, spaces.Discrete):
            return MLPHeadConfig(input_dim=6, output_dim=int(self.space.n), gain=0.01)
        return FreeLogStdHeadConfig(input_dim=6, output_dim=2 * self.space.shape[0], hidden=(5,))

    def get_vf_head_config(self) -> ModelConfig:
        return MLPHeadConfig(input_dim=6, output_dim=1)

    def get_action_dist_config(self) -> DistributionConfig:
        return distribution_config(self.space)


def make_module(
    action_space: gym.Space[Any],
    *,
    seed: int = 0,
    cls: type[TfActorCriticModule] = TfActorCriticModule,
    **kw: Any,
) -> TfActorCriticModule:
    config = RLModuleConfig(
        observation_space=OBS_SPACE,
        action_space=action_space,
        catalog_class=SmallCatalog,
        model_config_dict=kw,
    )
    with initial_weights_from(seed):
        return cls(config)


def observations(N: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(N).normal(size=(N, 4)).astype(np.float32))


@pytest.mark.parametrize("leading", [(3,), (2, 5)])
def test_an_encoder_computes_what_its_weights_say(leading: tuple[int, ...]) -> None:
    encoder = TfMLPEncoder(ENCODER)
    x = np.random.default_rng(0).normal(size=(*leading, 4)).astype(np.float32)
    expected = x
    for layer in encoder.layers:
        assert layer.weight.shape[1] == expected.shape[-1]  # [outputs, inputs]
        expected = np.tanh(expected @ layer.weight.numpy().T + layer.bias.numpy())

    np.testing.assert_allclose(encoder(tf.constant(x)), expected, rtol=1e-4, atol=1e-6)


def test_integers_are_encoded_as_numbers() -> None:
    encoder = TfMLPEncoder(MLPEncoderConfig(input_dim=2, hidden=(3,), activation="relu"))

    np.testing.assert_array_equal(encoder(tf.constant([[1, 2]])), encoder(tf.constant([[1.0, 2.0]])))


def test_the_log_std_of_a_free_head_depends_on_its_weights_and_on_no_input() -> None:
    head: Any = build(FreeLogStdHeadConfig(input_dim=4, output_dim=6))
    head.log_std.assign([0.1, 0.2, 0.3])
    one, two = head(observations(1)).numpy(), head(2.0 * observations(1)).numpy()

    np.testing.assert_allclose([one[0, 3:], two[0, 3:]], [[0.1, 0.2, 0.3]] * 2)
    assert not np.allclose(one[0, :3], two[0, :3])


def test_a_shared_encoder_runs_once_and_gives_both_the_same_features() -> None:
    calls = []

    class Counting(TfMLPEncoder):
        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            calls.append(1)
            return super().__call__(x)

    encoder: Any = build(ActorCriticEncoderConfig(base=ENCODER, shared=True))
    encoder.actor = Counting(ENCODER)
    actor, critic = encoder(observations(2))

    assert actor is critic
    assert len(calls) == 1


def test_one_seed_gives_one_set_of_weights_and_another_seed_another() -> None:
    first, same, other = (
        flatten_state(make_module(spaces.Discrete(2), seed=s).get_state()) for s in (3, 3, 4)
    )

    for name, array in first.items():
        np.testing.assert_array_equal(array, same[name])
    assert not np.allclose(first["pi.layers.0.weight"], other["pi.layers.0.weight"])


def test_without_initial_weights_from_the_seed_of_tensorflow_decides() -> None:
    weights = []
    for seed in (1, 1, 2):
        tf.random.set_seed(seed)
        weights.append(TfMLPHead(MLPHeadConfig(input_dim=4, output_dim=2)).layers[0].weight.numpy())

    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.allclose(weights[0], weights[2])


def test_the_state_of_the_default_module_has_the_names_and_the_order_that_torch_has() -> None:
    module = make_module(spaces.Box(-1, 1, (2,)))
    shapes = {name: array.shape for name, array in flatten_state(module.get_state()).items()}

    assert shapes == {
        "encoder.actor.layers.0.weight": (8, 4),
        "encoder.actor.layers.0.bias": (8,),
        "encoder.actor.layers.1.weight": (6, 8),
        "encoder.actor.layers.1.bias": (6,),
        "encoder.critic.layers.0.weight": (8, 4),
        "encoder.critic.layers.0.bias": (8,),
        "encoder.critic.layers.1.weight": (6, 8),
        "encoder.critic.layers.1.bias": (6,),
        "pi.log_std": (2,),
        "pi.mean.layers.0.weight": (5, 6),
        "pi.mean.layers.0.bias": (5,),
        "pi.mean.layers.1.weight": (2, 5),
        "pi.mean.layers.1.bias": (2,),
        "vf.layers.0.weight": (1, 6),
        "vf.layers.0.bias": (1,),
    }
    assert [tuple(variable.shape) for variable in module.trainable_variables] == list(shapes.values())


@pytest.mark.parametrize("space", [spaces.Discrete(3, start=2), spaces.Box(-1, 1, (2,))])
def test_the_numpy_form_acts_as_the_module_does_until_the_weights_change(space: gym.Space[Any]) -> None:
    module = make_module(space, shared=True)
    obs = observations(5)
    snapshot = module.numpy_form()
    assert snapshot is not None
    before = snapshot.forward_inference({"obs": obs.numpy()})["action_dist"].inputs

    expected = module.forward_inference({"obs": obs})["action_dist"].inputs
    np.testing.assert_allclose(before, expected, rtol=1e-5, atol=1e-6)
    for variable in module.trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    after = snapshot.forward_inference({"obs": obs.numpy()})["action_dist"].inputs
    np.testing.assert_array_equal(after, before)  # a snapshot: TensorFlow shares no memory


def test_a_module_or_layer_with_a_forward_or_spec_of_its_own_has_no_numpy_form() -> None:
    class OwnForward(TfActorCriticModule):
        def _forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
            return super()._forward_exploration(batch)

    class OwnSpec(TfActorCriticModule):
        def input_specs_inference(self) -> SpecType:
            return ["obs"]

    class OwnHead(TfMLPHead):
        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return 2.0 * super().__call__(x)

    for cls in (OwnForward, OwnSpec):
        assert make_module(spaces.Discrete(2), cls=cls).numpy_form() is None
    for name in ("_forward_inference", "_forward_exploration"):
        module = make_module(spaces.Discrete(2))
        setattr(module, name, getattr(module, name))
        assert module.numpy_form() is None
    module = make_module(spaces.Discrete(2))
    assert module.numpy_form() is not None
    module.pi = OwnHead(MLPHeadConfig(input_dim=6, output_dim=2))
    assert module.numpy_form() is None

    class OwnEncoder(TfActorCriticEncoder):
        def actor_features(self, obs: tf.Tensor) -> tf.Tensor:
            return 2.0 * super().actor_features(obs)

    module = make_module(spaces.Discrete(2))
    module.encoder = OwnEncoder(ActorCriticEncoderConfig(base=ENCODER, shared=True))
    assert module.numpy_form() is None


def test_training_gives_one_value_a_row_and_acting_gives_none() -> None:
    module = make_module(spaces.Discrete(2))

    assert module.forward_train({"obs": observations(5)})["vf_preds"].shape == (5,)
    assert set(module.forward_exploration({"obs": observations(5)})) == {"action_dist"}


def test_a_config_that_the_builder_does_not_know_is_refused_with_the_way_out() -> None:
    class OwnConfig(ModelConfig):
        pass

    with pytest.raises(
        TypeError, match=r"OwnConfig is not known to rlmodule_tf: give the class its own build"
    ):
        OwnConfig().build("tf")


def test_the_device_of_a_module_is_where_its_weights_are() -> None:
    with tf.device("CPU:0"):
        assert make_module(spaces.Discrete(2)).device.endswith("CPU:0")
