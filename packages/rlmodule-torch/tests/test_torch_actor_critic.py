"""The default module: what it computes, and its NumPy form over the same weights."""

import copy
import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlmodule_core import (
    ActorCriticEncoderConfig,
    DistributionConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    NumpyPolicy,
    Output,
    RLModuleConfig,
    initial_weights_from,
)
from rlmodule_specs import SpecError, SpecType
from rlmodule_torch import TorchActorCriticModule, TorchMLPEncoder, TorchUpdater

BOX = spaces.Box(-1, 1, (3,))


class Catalog:
    """A stand-in for the real one: the settings are the configs' fields."""

    masks_actions = False

    def __init__(self, observation_space: Any, action_space: Any, model_config_dict: dict[str, Any]) -> None:
        self.action_space = action_space
        self.settings: dict[str, Any] = {
            "activation": "tanh",
            "shared": False,
            "free": False,
        } | model_config_dict

    def get_normalizer_config(self) -> None:
        return None

    def get_encoder_config(self) -> MLPEncoderConfig:
        return MLPEncoderConfig(input_dim=3, hidden=(8, 4), activation=self.settings["activation"])

    def get_actor_critic_encoder_config(self) -> Any:
        return ActorCriticEncoderConfig(base=self.get_encoder_config(), shared=self.settings["shared"])

    def get_pi_head_config(self) -> Any:
        cls = FreeLogStdHeadConfig if self.settings["free"] else MLPHeadConfig
        return cls(input_dim=4, output_dim=self.get_action_dist_config().input_dim, hidden=(5,))

    def get_vf_head_config(self) -> Any:
        return MLPHeadConfig(input_dim=4, output_dim=1)

    def get_action_dist_config(self) -> DistributionConfig:
        if isinstance(self.action_space, spaces.Discrete):
            return DistributionConfig(kind="Categorical", space=self.action_space, input_dim=2)
        return DistributionConfig(kind="DiagGaussian", space=self.action_space, input_dim=4)


def config(action_space: Any = None, **settings: Any) -> RLModuleConfig:
    return RLModuleConfig(
        observation_space=BOX,
        action_space=action_space or spaces.Discrete(2, start=3),
        model_config_dict=settings,
        catalog_class=Catalog,
    )


def module(**settings: Any) -> TorchActorCriticModule:
    with initial_weights_from(0):
        return TorchActorCriticModule(config(**settings))


def numpy_form(of: TorchActorCriticModule) -> NumpyPolicy:
    form = of.numpy_form()
    assert isinstance(form, NumpyPolicy)
    return form


def acts_alike(of: TorchActorCriticModule, form: NumpyPolicy) -> bool:
    obs = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    same = []
    for phase in ("exploration", "inference"):
        ours = getattr(of, f"forward_{phase}")({"obs": obs})["action_dist"].inputs
        theirs = getattr(form, f"forward_{phase}")({"obs": obs.numpy()})["action_dist"].inputs
        same.append(np.allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-6))
    assert same[0] == same[1]
    return same[0]


class Loss(NamedTuple):
    total: torch.Tensor


def step_of(of: TorchActorCriticModule) -> Any:
    """One step of an optimizer that has moved the weights into its flat buffer."""

    def loss(batch: Any, coefficients: Any) -> Any:
        out = of.forward_train(batch)
        return Loss(out["vf_preds"].pow(2).sum() + out["action_dist"].inputs.sum())

    updater = TorchUpdater(of, loss)
    return lambda: updater.step({"obs": torch.ones(5, 3)}, {"lr": 0.1})


def test_without_a_catalog_the_error_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="get_catalog: catalog_class not set"):
        TorchActorCriticModule(RLModuleConfig(observation_space=BOX, action_space=spaces.Discrete(2)))


@pytest.mark.parametrize("leading", [(5,), (5, 2)])
@pytest.mark.parametrize("shared", [False, True])
def test_it_maps_obs_to_an_action_dist_and_in_training_to_values(
    shared: bool, leading: tuple[int, ...]
) -> None:
    of = module(shared=shared)
    obs = torch.randn(*leading, 3)

    out = of.forward_train({"obs": obs})

    actor, critic = of.encoder(obs)
    torch.testing.assert_close(out["vf_preds"], of.vf(critic)[..., 0])
    torch.testing.assert_close(out["action_dist"].inputs, of.pi(actor))
    assert out["vf_preds"].shape == leading
    for phase in ("exploration", "inference"):
        acting = getattr(of, f"forward_{phase}")({"obs": obs})
        assert set(acting) == {"action_dist"}
        torch.testing.assert_close(acting["action_dist"].inputs, out["action_dist"].inputs)
        assert acting["action_dist"].start == 3


def test_acting_does_not_run_the_critic() -> None:
    of = module()
    assert isinstance(of.encoder.critic, nn.Module)
    of.encoder.critic.register_forward_hook(lambda *args: pytest.fail("the critic ran"))

    of.forward_inference({"obs": torch.ones(2, 3)})


@pytest.mark.parametrize("shared", [False, True])
def test_a_shared_encoder_is_counted_and_trained_once(shared: bool) -> None:
    encoder, heads = (3 * 8 + 8) + (8 * 4 + 4), (4 * 5 + 5) + (5 * 2 + 2) + (4 + 1)
    count = sum(p.numel() for p in module(shared=shared).parameters())
    assert count == encoder * (1 if shared else 2) + heads


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu", "elu"])
def test_the_numpy_form_acts_as_the_module_does_and_sees_its_weights_change(
    shared: bool, free: bool, activation: str
) -> None:
    space = spaces.Box(-1, 1, (2,)) if free else spaces.Discrete(2, start=3)
    of = module(action_space=space, shared=shared, free=free, activation=activation)
    form = numpy_form(of)

    assert acts_alike(of, form)
    with torch.no_grad():
        for parameter in of.parameters():
            parameter.add_(torch.linspace(-1, 1, parameter.numel()).view(parameter.shape))
    assert acts_alike(of, form)
    of.set_state({**of.get_state(), "pi": module(action_space=space, free=free).get_state()["pi"]})
    assert acts_alike(of, form)


def test_the_numpy_form_made_after_an_updater_sees_each_of_its_steps() -> None:
    of = module(shared=True)
    step = step_of(of)
    form = numpy_form(of)
    obs = np.ones((1, 3), np.float32)
    before = form.forward_inference({"obs": obs})["action_dist"].inputs.copy()

    for _ in range(3):
        step()
        assert acts_alike(of, form)

    assert not np.allclose(form.forward_inference({"obs": obs})["action_dist"].inputs, before, atol=1e-3)


def test_the_numpy_form_checks_its_batches_too() -> None:
    with pytest.raises(SpecError, match=r"expected numpy \[\.\.\., 3\]"):
        numpy_form(module()).forward_exploration({"obs": np.ones((2, 4), np.float32)})


@pytest.mark.parametrize("name", ["_forward_inference", "_forward_exploration", "_actor_features"])
def test_an_overridden_forward_has_no_numpy_form(name: str) -> None:
    def override(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(TorchActorCriticModule, name)(self, *args, **kwargs)

    mine = type("Mine", (TorchActorCriticModule,), {name: override})
    assert mine(config()).numpy_form() is None


@pytest.mark.parametrize("name", ["_forward_inference", "_forward_exploration", "_actor_features"])
def test_a_forward_that_is_set_on_a_module_has_no_numpy_form(name: str) -> None:
    of = module()
    numpy_form(of)
    setattr(of, name, getattr(of, name))
    assert of.numpy_form() is None


def test_a_layer_whose_forward_is_set_has_no_numpy_form() -> None:
    for path in ("pi", "pi.layers.0", "encoder.actor"):
        of = module()
        layer: Any = of.get_submodule(path)
        layer.forward = layer.forward
        assert of.numpy_form() is None


def test_overridden_specs_have_no_numpy_form_since_it_would_not_check_them() -> None:
    class Narrow(TorchActorCriticModule):
        def input_specs_inference(self) -> SpecType:
            return ["obs", "mask"]

    assert Narrow(config()).numpy_form() is None


def test_a_subclass_that_changes_only_training_keeps_its_numpy_form() -> None:
    class Trained(TorchActorCriticModule):
        def _forward_train(self, batch: Any, **kwargs: Any) -> Output:
            return super()._forward_train(batch)

    assert isinstance(Trained(config()).numpy_form(), NumpyPolicy)


def test_other_weights_activations_and_encoders_have_no_numpy_form() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.actor = TorchMLPEncoder(MLPEncoderConfig(input_dim=3, hidden=(4,)))

        def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
            features = 2 * self.actor(obs)
            return features, features

    double, own, head = module().double(), module(), module()
    own.encoder = Own()
    head.pi = nn.Linear(4, 2)

    assert double.numpy_form() is None
    assert module(activation="gelu").numpy_form() is None
    assert own.numpy_form() is None
    assert head.numpy_form() is None
    obs = torch.ones(2, 3)
    torch.testing.assert_close(
        own.forward_inference({"obs": obs})["action_dist"].inputs, own.pi(own.encoder(obs)[0])
    )


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_a_numpy_form_over_its_own_weights(remake: Any) -> None:
    of = module()
    other = remake(of)

    assert acts_alike(other, numpy_form(other))
    with torch.no_grad():
        other.pi.layers[-1].bias.add_(1)
    assert acts_alike(other, numpy_form(other))
    assert not acts_alike(other, numpy_form(of))


def test_one_seed_gives_two_modules_the_same_weights() -> None:
    for first, second in zip(module().parameters(), module().parameters(), strict=True):
        assert torch.equal(first, second)


def test_an_encoder_that_returns_one_tensor_for_both_is_refused_in_words() -> None:
    class One(Catalog):
        def get_actor_critic_encoder_config(self) -> Any:
            return self.get_encoder_config()

    with pytest.raises(
        ValueError, match=r"^TorchActorCriticModule: .* must return .features of the actor.*ActorCriticEnc"
    ):
        TorchActorCriticModule(
            RLModuleConfig(
                observation_space=BOX,
                action_space=spaces.Discrete(2),
                catalog_class=One,
            )
        )
