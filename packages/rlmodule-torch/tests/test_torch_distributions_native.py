"""Distributions of PyTorch's own are accepted wherever ours are, or refused in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributions as td
from torch import Tensor

from rlmodule_torch import (
    TorchBernoulli,
    TorchCategorical,
    TorchDiagGaussian,
    TorchNative,
    TorchSquashedGaussian,
    as_distribution,
)


def test_a_native_distribution_answers_through_our_contract() -> None:
    native, other = td.Normal(torch.zeros(3), torch.ones(3)), td.Normal(torch.ones(3), torch.ones(3))
    ours = as_distribution(native)
    value = torch.tensor([0.5, -1.0, 2.0])

    assert isinstance(ours, TorchNative)
    torch.testing.assert_close(ours.logp(value), native.log_prob(value))
    torch.testing.assert_close(ours.entropy(), native.entropy())
    torch.testing.assert_close(ours.kl(TorchNative(other)), torch.full((3,), 0.5))
    assert ours.to_deterministic().sample().tolist() == [0, 0, 0]
    assert ours.sample().shape == ours.rsample().shape == (3,)
    assert ours.to_numpy() is None
    for use in (lambda: ours.inputs, lambda: ours.with_inputs(value), lambda: ours.from_inputs(value)):
        with pytest.raises(NotImplementedError):
            use()


def test_the_mode_of_native_bits_is_the_likelier_value_and_0_of_equals() -> None:
    logits = torch.tensor([[0.0, 2.0, -2.0]])

    for native in (td.Bernoulli(logits=logits), td.Independent(td.Bernoulli(logits=logits), 1)):
        mode = as_distribution(native).to_deterministic().sample()
        assert mode.tolist() == [[0.0, 1.0, 0.0]]
        assert mode.tolist() == TorchBernoulli(logits).to_deterministic().sample().tolist()


def test_the_mode_of_a_native_uniform_distribution_is_its_middle() -> None:
    assert as_distribution(td.Uniform(torch.zeros(2), 3.0)).to_deterministic().sample().tolist() == [1.5, 1.5]


def test_a_native_mode_of_nan_is_refused_instead_of_acted_on() -> None:
    flat = as_distribution(td.Beta(torch.ones(2), torch.ones(2)))
    with pytest.raises(ValueError, match="Beta: its mode is NaN, so there is no deterministic action"):
        flat.to_deterministic()


@pytest.mark.parametrize("depth", [0, 1])
def test_what_a_native_distribution_lacks_is_named_with_what_has_it(depth: int) -> None:
    normal = td.Normal(torch.zeros(2, 3), torch.ones(2, 3))
    tanh: td.Distribution = td.TransformedDistribution(normal, [td.TanhTransform()])
    squashed = as_distribution(td.Independent(tanh, depth) if depth else tanh)

    for use, missing in ((squashed.to_deterministic, "mode"), (squashed.entropy, "entropy")):
        with pytest.raises(NotImplementedError, match=rf"has no {missing}: .*use TorchSquashedGaussian"):
            use()
    with pytest.raises(
        NotImplementedError, match=r"Categorical .* has no reparametrised sample: use sample\(\)"
    ):
        as_distribution(td.Categorical(logits=torch.zeros(2, 3))).rsample()
    mixture = td.MixtureSameFamily(td.Categorical(torch.ones(3)), td.Normal(torch.zeros(3), 1.0))
    with pytest.raises(NotImplementedError, match=r"MixtureSameFamily .* has no entropy: use one of ours"):
        as_distribution(mixture).entropy()


def test_a_mode_that_a_native_class_is_given_is_used() -> None:
    class TanhNormal(td.TransformedDistribution):
        @property
        def mode(self) -> Tensor:
            mode: Tensor = self.transforms[-1](self.base_dist.mode)
            return mode

    mean = torch.tensor([[0.5, -1.0]])
    squashed = TanhNormal(td.Normal(mean, torch.ones(1, 2)), [td.TanhTransform()])

    for native in (squashed, td.Independent(squashed, 1)):
        torch.testing.assert_close(as_distribution(native).to_deterministic().sample(), mean.tanh())


FORMS: dict[str, tuple[Any, int]] = {
    "categorical": (TorchCategorical, 3),
    "bits": (TorchBernoulli, 3),
    "bits of rank 2": (lambda inputs: TorchBernoulli(inputs, event_shape=(2, 2)), 4),
    "gaussian": (TorchDiagGaussian, 6),
    "gaussian of rank 0": (lambda inputs: TorchDiagGaussian(inputs, event_shape=()), 2),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_divergence_goes_from_ours_to_native_and_back_with_its_gradient(name: str) -> None:
    make, size = FORMS[name]
    inputs, others = torch.randn(2, 4, size, generator=torch.Generator().manual_seed(0))
    p, q = make(inputs.requires_grad_()), make(others)
    expected = p.kl(q)
    slope = torch.autograd.grad(expected.sum(), inputs, retain_graph=True)[0]

    for one, other in (
        (p, as_distribution(q.native_form())),
        (as_distribution(p.native_form()), q),
        (as_distribution(p.native_form()), as_distribution(q.native_form())),
    ):
        found = one.kl(other)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), inputs, retain_graph=True)[0], slope)


def test_a_divergence_that_pytorch_does_not_know_is_refused_by_both_classes() -> None:
    native = as_distribution(td.Categorical(logits=torch.zeros(2, 3)))
    for other in (TorchCategorical(torch.zeros(2, 3), start=1), TorchSquashedGaussian(torch.zeros(2, 6))):
        for p, q in ((native, other), (other, native)):
            with pytest.raises(
                TypeError, match=r"kl: PyTorch knows no divergence between .* and .*; make both"
            ):
                p.kl(q)
    with pytest.raises(TypeError, match="between Categorical and TorchBernoulli; register one with"):
        native.kl(TorchBernoulli(torch.zeros(2, 1), event_shape=()))
    for p, q in (
        (native, TorchCategorical(torch.zeros(2, 1))),
        (TorchCategorical(torch.zeros(2, 1)), native),
    ):
        with pytest.raises(ValueError, match=r"kl: both must be over the same values, .* of . and . classes"):
            p.kl(q)
