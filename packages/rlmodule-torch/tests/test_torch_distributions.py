"""Torch distributions against NumPy's and torch's own, in value and gradient, at extremes too."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributions as td
from gymnasium import spaces
from torch import Tensor

from rlmodule_core import NumpyCategorical, NumpyDeterministic, NumpyDiagGaussian
from rlmodule_torch import (
    TorchBernoulli,
    TorchCategorical,
    TorchDeterministic,
    TorchDiagGaussian,
    TorchSquashedGaussian,
    as_distribution,
)

DISCRETE = spaces.Discrete(5, start=-2)
BOX = spaces.Box(-1, 1, (2, 2))
KINDS: dict[str, tuple[Any, Any, int]] = {
    "categorical": (TorchCategorical, DISCRETE, 5),
    "gaussian": (TorchDiagGaussian, BOX, 8),
}
BATCHES = [(), (4,), (3, 2)]


def parameters(batch: tuple[int, ...], size: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(*batch, size)))


def value_for(kind: str, batch: tuple[int, ...]) -> Tensor:
    rng = np.random.default_rng(7)
    if kind == "categorical":
        return torch.from_numpy(rng.integers(-2, 3, size=batch, dtype=np.int64).reshape(batch))
    return torch.from_numpy(rng.normal(size=(*batch, 2, 2)))


def results(distribution: Any, other: Any, value: Tensor) -> dict[str, Tensor]:
    return {
        "logp": distribution.logp(value),
        "entropy": distribution.entropy(),
        "kl": distribution.kl(other),
    }


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_values_equal_those_of_the_numpy_form(kind: str, batch: tuple[int, ...]) -> None:
    cls, space, size = KINDS[kind]
    p, q = (cls.from_inputs(parameters(batch, size, seed), space) for seed in (0, 1))
    value = value_for(kind, batch)
    flat, flat_q = p.to_numpy(), q.to_numpy()

    for name, actual in results(p, q, value).items():
        other = (value.numpy(),) if name == "logp" else (flat_q,) if name == "kl" else ()
        np.testing.assert_allclose(actual.numpy(), getattr(flat, name)(*other), rtol=1e-12)
        assert tuple(actual.shape) == batch
    mode, flat_mode = p.to_deterministic().sample(), flat.to_deterministic().sample()
    np.testing.assert_array_equal(mode.numpy(), flat_mode)
    assert tuple(p.sample().shape) == tuple(mode.shape) == flat_mode.shape == flat.sample().shape


@pytest.mark.parametrize("kind", KINDS)
def test_values_equal_those_of_torch_distributions(kind: str) -> None:
    cls, space, size = KINDS[kind]
    inputs, others = parameters((4,), size), parameters((4,), size, seed=1)
    value = value_for(kind, (4,))

    def native(x: Tensor) -> td.Distribution:
        if kind == "categorical":
            return td.Categorical(logits=x)
        return td.Independent(td.Normal(x[:, :4], x[:, 4:].exp()), 1)

    p, q = native(inputs), native(others)
    theirs = value + 2 if kind == "categorical" else value.reshape(4, 4)
    actual = results(cls.from_inputs(inputs, space), cls.from_inputs(others, space), value)

    torch.testing.assert_close(actual["logp"], p.log_prob(theirs))
    torch.testing.assert_close(actual["entropy"], p.entropy())
    torch.testing.assert_close(actual["kl"], td.kl_divergence(p, q))


def finite_difference(function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-6) -> Tensor:
    slope: Tensor = torch.zeros_like(x)
    for index in np.ndindex(*x.shape):
        moved = x.clone()
        moved[index] += step
        up = function(moved)
        moved[index] -= 2 * step
        slope[index] = (up - function(moved)) / (2 * step)
    return slope


@pytest.mark.parametrize("name", ["logp", "entropy", "kl", "kl from the other side"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind: str, name: str) -> None:
    cls, space, size = KINDS[kind]
    fixed = cls.from_inputs(parameters((3,), size, seed=1), space)
    value = value_for(kind, (3,))

    def total(x: Tensor) -> Tensor:
        distribution = cls.from_inputs(x, space)
        if name == "kl from the other side":
            divergence: Tensor = fixed.kl(distribution).sum()
            return divergence
        return results(distribution, fixed, value)[name].sum()

    inputs = parameters((3,), size).requires_grad_()
    total(inputs).backward()

    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad, finite_difference(total, inputs.detach()), rtol=1e-5, atol=1e-7)


EXTREMES = {
    "categorical": [
        [[1e4, -1e4, 0.0, 1e4, -1e4]],
        [[-math.inf, 0.0, 1.0, -math.inf, 1e4]],
        [[-1e4] * 5],
        [[1e30, 0.0, 0.0, 0.0, 0.0]],
    ],
    "gaussian": [
        [[1e4, -1e4, 0.0, 1.0, 10.0, 10.0, 10.0, 10.0]],
        [[0.0, 0.0, 0.0, 0.0, -10.0, -10.0, -10.0, -10.0]],
        [[1e4, 1e4, 1e4, 1e4, -15.0, 20.0, -15.0, 20.0]],
    ],
}


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, i) for kind in EXTREMES for i in range(len(EXTREMES[kind]))]
)
def test_extreme_inputs_are_finite_in_value_and_gradient(kind: str, number: int) -> None:
    cls, space, _ = KINDS[kind]
    inputs = torch.tensor(EXTREMES[kind][number], requires_grad=True)
    likely = cls.from_inputs(inputs.detach(), space).to_deterministic().sample()

    for name in ("logp", "entropy", "kl"):
        p = cls.from_inputs(inputs, space)
        inputs.grad = None
        result = results(p, cls.from_inputs(inputs.detach(), space), likely)[name]
        result.sum().backward()
        assert result.isfinite().all(), name
        assert inputs.grad is not None
        assert inputs.grad.isfinite().all(), name


def test_a_class_of_probability_zero_is_never_drawn_and_its_logit_gets_no_gradient() -> None:
    inputs = torch.tensor([[-math.inf, 0.0, 1.0]]).repeat(3000, 1).requires_grad_()
    p = TorchCategorical(inputs)

    drawn = p.sample()
    (p.logp(drawn) + p.entropy() + p.kl(p.with_inputs(inputs.detach()))).sum().backward()

    assert set(drawn.tolist()) == {1, 2}
    assert inputs.grad is not None
    assert not inputs.grad[:, 0].any()
    assert inputs.grad.isfinite().all()


def test_torch_draws_with_the_probabilities_and_moments_of_the_parameters() -> None:
    torch.manual_seed(0)
    draws = 20_000
    p = TorchCategorical(torch.tensor([0.6, 0.3, 0.1]).log().expand(draws, 3), start=4)
    g = TorchDiagGaussian(torch.tensor([1.0, -2.0, math.log(0.5), math.log(2.0)]).expand(draws, 4))

    counts = torch.bincount(p.sample() - 4, minlength=3) / draws
    values = g.sample()

    for count, expected in zip(counts.tolist(), [0.6, 0.3, 0.1], strict=True):
        assert abs(count - expected) < 4.5 * math.sqrt(expected * (1 - expected) / draws)
    assert abs(values.mean(dim=0) - torch.tensor([1.0, -2.0])).max() < 0.07
    torch.testing.assert_close(values.std(dim=0), torch.tensor([0.5, 2.0]), rtol=0.03, atol=0)


def test_only_rsample_carries_a_gradient() -> None:
    inputs = torch.zeros(2, 4, requires_grad=True)
    gaussian = TorchDiagGaussian(inputs)
    point = TorchDeterministic(inputs)

    assert gaussian.rsample().requires_grad
    assert not gaussian.sample().requires_grad
    assert point.rsample() is inputs
    assert not point.sample().requires_grad
    assert not TorchCategorical(inputs).sample().requires_grad
    with pytest.raises(NotImplementedError, match="use sample"):
        TorchCategorical(inputs).rsample()


def test_a_point_mass_has_no_logp_entropy_or_kl() -> None:
    point = TorchDeterministic(torch.ones(2))
    assert point.to_deterministic() is point
    for name, arguments in {"logp": (torch.ones(2),), "entropy": (), "kl": (point,)}.items():
        with pytest.raises(NotImplementedError, match="a deterministic policy has no"):
            getattr(point, name)(*arguments)


def test_the_numpy_form_shares_memory_and_keeps_start_and_shape() -> None:
    inputs = torch.zeros(2, 5)
    categorical = TorchCategorical.from_inputs(inputs, DISCRETE).to_numpy()
    gaussian = TorchDiagGaussian.from_inputs(torch.zeros(2, 8, requires_grad=True), BOX).to_numpy()
    point = TorchDeterministic(inputs).to_numpy()

    assert isinstance(categorical, NumpyCategorical)
    assert categorical.start == -2
    inputs[0, 0] = 3
    assert categorical.inputs[0, 0] == 3
    assert isinstance(gaussian, NumpyDiagGaussian)
    assert gaussian.event_shape == (2, 2)
    assert isinstance(point, NumpyDeterministic)


@pytest.mark.parametrize("method", ["sample", "logp", "to_deterministic", "entropy", "kl"])
@pytest.mark.parametrize(
    "cls", [TorchCategorical, TorchDiagGaussian, TorchSquashedGaussian, TorchBernoulli, TorchDeterministic]
)
def test_a_subclass_that_overrides_a_method_has_no_numpy_form_that_would_ignore_it(
    cls: Any, method: str
) -> None:
    override = {method: lambda self, *args: torch.zeros(2)}
    mixin = type("Mixin", (), override)

    for mine in (type("Mine", (cls,), override), type("Mine", (mixin, cls), {})):
        assert mine(torch.zeros(2, 4)).to_numpy() is None
        assert type("Child", (mine,), {})(torch.zeros(2, 4)).to_numpy() is None
    assert type("Same", (cls,), {})(torch.zeros(2, 4)).to_numpy() is not None


def test_a_subclass_may_bring_its_own_numpy_form_along_with_its_override() -> None:
    class Mine(TorchCategorical):
        def sample(self) -> Tensor:
            return torch.zeros(2)

        def to_numpy(self) -> NumpyCategorical:
            return NumpyCategorical(np.ones((2, 3)))

    assert isinstance(Mine(torch.zeros(2, 3)).to_numpy(), NumpyCategorical)


def test_with_inputs_keeps_what_the_inputs_leave_open() -> None:
    moved = TorchCategorical(torch.zeros(1, 2), start=7).with_inputs(torch.tensor([[0.0, 1.0]]))
    assert moved.to_deterministic().sample().tolist() == [8]
    gaussian = TorchDiagGaussian(torch.zeros(1, 8), event_shape=(2, 2))
    assert gaussian.with_inputs(torch.ones(1, 8)).sample().shape == (
        1,
        2,
        2,
    )


@pytest.mark.parametrize(
    ("value", "named"), [(torch.zeros(2), "torch.Tensor"), (None, "NoneType"), ({}, "builtins.dict")]
)
def test_anything_else_than_a_distribution_is_refused_by_its_class(value: Any, named: str) -> None:
    ours = TorchCategorical(torch.zeros(1, 2))
    assert as_distribution(ours) is ours
    with pytest.raises(TypeError, match=f"action_dist: expected a distribution, such as .* got .*{named}"):
        as_distribution(value)
