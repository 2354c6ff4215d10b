"""Encoders and heads: shapes, initial weights, sharing, and their NumPy form."""

import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlmodule_core import (
    ActorCriticEncoderConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    ModelConfig,
    initial_weights_from,
)
from rlmodule_core.model_config import ACTIVATION_NAMES
from rlmodule_torch import TorchActorCriticEncoder, TorchFreeLogStdHead, TorchMLPEncoder, TorchMLPHead
from rlmodule_torch.builder import build
from rlmodule_torch.layers import ACTIVATIONS, dense

ENCODER = MLPEncoderConfig(input_dim=3, hidden=(8, 4))
HEAD = MLPHeadConfig(input_dim=4, output_dim=6, hidden=(5,), gain=0.01)
FREE = FreeLogStdHeadConfig(input_dim=4, output_dim=6, hidden=(5,), gain=0.01)


def weights(layer: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in layer.parameters()]


@pytest.mark.parametrize("leading", [(), (2,), (2, 5)])
@pytest.mark.parametrize(("config", "output_dim"), [(ENCODER, 4), (HEAD, 6), (FREE, 6)])
def test_any_leading_dimensions_come_out_as_they_went_in(
    config: Any, output_dim: int, leading: tuple[int, ...]
) -> None:
    layer = config.build("torch")
    flat = torch.randn(10, config.input_dim)

    assert layer(torch.zeros(*leading, config.input_dim)).shape == (*leading, output_dim)
    torch.testing.assert_close(layer(flat.view(2, 5, -1)).view(10, -1), layer(flat))


def test_layers_compute_activations_of_affine_maps_and_heads_end_linear() -> None:
    encoder, head = ENCODER.build("torch"), HEAD.build("torch")
    x = torch.randn(2, 3)

    features = x
    for layer in encoder.layers:
        features = torch.tanh(features @ layer.weight.T + layer.bias)
    torch.testing.assert_close(encoder(x), features)
    first, last = head.layers
    hidden = torch.tanh(features @ first.weight.T + first.bias)
    torch.testing.assert_close(head(features), hidden @ last.weight.T + last.bias)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float64, torch.float16])
def test_observations_of_any_number_type_are_taken_as_the_type_of_the_weights(dtype: torch.dtype) -> None:
    encoder = ENCODER.build("torch")
    torch.testing.assert_close(encoder(torch.ones(2, 3, dtype=dtype)), encoder(torch.ones(2, 3)))
    assert encoder.double()(torch.ones(2, 3)).dtype is torch.float64
    empty = MLPEncoderConfig(input_dim=3, hidden=()).build("torch")
    assert empty(torch.ones(2, 3, dtype=dtype)).dtype is torch.float32


@pytest.mark.parametrize("config", [ENCODER, HEAD, FREE])
def test_initial_weights_are_orthogonal_with_their_gains_and_biases_zero(config: Any) -> None:
    layers = [layer for layer in config.build("torch").modules() if isinstance(layer, nn.Linear)]
    gains = [math.sqrt(2)] * len(layers)
    if config is not ENCODER:
        gains[-1] = 0.01

    for layer, gain in zip(layers, gains, strict=True):
        w = layer.weight.detach().double()
        product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        torch.testing.assert_close(product, gain**2 * torch.eye(len(product)).double(), atol=1e-5, rtol=0)
        assert not layer.bias.any()


def test_torch_manual_seed_alone_decides_the_weights_outside_of_a_seeded_block() -> None:
    def made(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return weights(ENCODER.build("torch"))

    for first, second, other in zip(made(1), made(1), made(2), strict=True):
        assert torch.equal(first, second)
        assert not first.any() or not torch.equal(first, other)


def test_initial_weights_from_draws_the_same_weights_whatever_torchs_seed_and_uses_none_of_its_draws() -> (
    None
):
    def made(seed: int) -> list[Tensor]:
        with initial_weights_from(seed):
            return weights(ENCODER.build("torch")) + weights(FREE.build("torch"))

    torch.manual_seed(0)
    first = made(3)
    assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(0))
    for a, b in zip(first, made(3), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0], made(4)[0])


def test_the_weights_of_a_seed_are_the_first_draws_of_its_generator() -> None:
    with initial_weights_from(0):
        layer = dense(2, 2, gain=1.0)
    q, r = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))
    np.testing.assert_allclose(layer.weight.detach().numpy(), q * np.sign(np.diag(r)), rtol=1e-6)


def test_a_free_log_std_starts_at_zero_and_no_input_changes_it() -> None:
    head = FREE.build("torch")
    assert isinstance(head, TorchFreeLogStdHead)
    with torch.no_grad():
        head.log_std.copy_(torch.tensor([0.1, 0.2, 0.3]))
    x = torch.randn(2, 5, 4, requires_grad=True)

    out = head(x)

    torch.testing.assert_close(out[..., 3:], torch.tensor([0.1, 0.2, 0.3]).expand(2, 5, 3))
    out[..., 3:].sum().backward()
    assert x.grad is None or not x.grad.any()
    assert head.log_std.grad is not None
    assert head.log_std.grad.tolist() == [10, 10, 10]
    assert not FREE.build("torch").log_std.any()


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y: Tensor = self.layer(x)
        return y


class CountingConfig:
    """A config of the user's own."""

    def build(self, framework: str) -> Counting:
        return Counting()


def test_a_shared_encoder_is_one_object_that_runs_once() -> None:
    encoder = TorchActorCriticEncoder(ActorCriticEncoderConfig(base=CountingConfig(), shared=True))
    counting: Any = encoder.actor

    actor, critic = encoder(torch.zeros(2, 3))

    assert actor is critic
    assert counting.calls == 1
    encoder.actor_features(torch.zeros(2, 3))
    assert counting.calls == 2
    shared = ActorCriticEncoderConfig(base=ENCODER, shared=True).build("torch")
    assert sum(p.numel() for p in shared.parameters()) == (3 * 8 + 8) + (8 * 4 + 4)


def test_separate_encoders_have_weights_of_their_own_and_acting_runs_the_actors_alone() -> None:
    encoder = TorchActorCriticEncoder(ActorCriticEncoderConfig(base=CountingConfig()))
    actor: Any = encoder.actor
    critic: Any = encoder.critic

    features = encoder(torch.ones(2, 3))

    assert not torch.equal(*features)
    torch.testing.assert_close(encoder.actor_features(torch.ones(2, 3)), features[0])
    assert (actor.calls, critic.calls) == (2, 1)
    separate = ActorCriticEncoderConfig(base=ENCODER).build("torch")
    assert not torch.equal(separate.actor.layers[0].weight, separate.critic.layers[0].weight)


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_every_activation_has_a_layer_that_can_be_pickled(activation: str) -> None:
    encoder = MLPEncoderConfig(input_dim=3, hidden=(4,), activation=activation).build("torch")
    x = torch.randn(2, 3)

    other = pickle.loads(pickle.dumps(encoder))

    torch.testing.assert_close(other(x), encoder(x))
    assert set(ACTIVATIONS) == set(ACTIVATION_NAMES)


@pytest.mark.parametrize("activation", [name for name in ACTIVATION_NAMES if name != "gelu"])
@pytest.mark.parametrize("cls", [TorchMLPEncoder, TorchMLPHead])
def test_the_numpy_layers_compute_the_same_over_the_same_memory(cls: Any, activation: str) -> None:
    config = ENCODER if cls is TorchMLPEncoder else replace(HEAD, input_dim=3)
    layer = cls(replace(config, activation=activation))
    x = torch.randn(5, 3) * 3
    layers = layer.numpy_layers()
    assert layers is not None
    forward = layers.compile()

    for _ in range(2):
        np.testing.assert_allclose(forward(x.numpy()), layer(x).detach().numpy(), rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(0.1)


def test_layers_that_could_differ_have_no_numpy_form() -> None:
    class Doubled(TorchMLPEncoder):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(2 * x)

    def encoder() -> Any:
        return ENCODER.build("torch")

    hooked, unbiased, normed, parametrized = encoder(), encoder(), encoder(), encoder()
    hooked.layers[0].register_forward_hook(lambda module, args, out: out * 2)
    unbiased.layers[0] = nn.Linear(3, 8, bias=False)
    normed.layers[0] = nn.LayerNorm(3)
    nn.utils.parametrizations.spectral_norm(parametrized.layers[0])
    found = [hooked, unbiased, normed, parametrized, encoder().double(), Doubled(ENCODER)]

    assert [layer.numpy_layers() for layer in found] == [None] * 6
    assert encoder().numpy_layers() is not None


def test_a_config_that_torch_does_not_know_is_told_to_build_itself() -> None:
    class Mine(ModelConfig):
        pass

    with pytest.raises(TypeError, match="Mine is not known to rlmodule_torch: give the class its own build"):
        build(Mine())
