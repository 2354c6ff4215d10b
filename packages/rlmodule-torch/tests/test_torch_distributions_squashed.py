"""What only torch shows of squashed and discrete distributions: gradients along draws, half precision."""

import math
import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributions as td
from gymnasium import spaces

from rlmodule_core import distribution_config
from rlmodule_torch import TorchBernoulli, TorchCategorical, TorchMultiDistribution, TorchSquashedGaussian

NESTED = spaces.Dict({"turn": spaces.Discrete(3), "arm": spaces.Box(-1, 1, (2,))})


def squashed(inputs: torch.Tensor) -> td.Distribution:
    mean, log_std = inputs.chunk(2, dim=-1)
    moves = [td.TanhTransform(cache_size=1), td.AffineTransform(1.0, 3.0, cache_size=1)]
    return td.Independent(td.TransformedDistribution(td.Normal(mean, log_std.exp()), moves), 1)


def test_log_densities_of_squashed_draws_and_their_gradients_are_those_of_torch() -> None:
    row = torch.tensor([[0.3, -1.0, -0.5, 0.2]] * 5, dtype=torch.float64)
    ours, theirs = (row.clone().requires_grad_() for _ in range(2))
    p = TorchSquashedGaussian(ours, low=-2.0, high=4.0)
    torch.manual_seed(0)
    drawn = p.rsample()
    torch.manual_seed(0)
    native = squashed(theirs)
    expected = native.rsample()

    p.logp(drawn).sum().backward()
    native.log_prob(expected).sum().backward()

    torch.testing.assert_close(drawn, expected)
    torch.testing.assert_close(p.logp(drawn), native.log_prob(expected))
    torch.testing.assert_close(p.logp(drawn.clone()), native.log_prob(expected))  # by inversion
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_draw_that_saturates_keeps_its_density_and_a_finite_gradient() -> None:
    inputs = torch.tensor([[30.0, 0.0]] * 100, requires_grad=True)  # tanh(30) is 1 in float32
    p = TorchSquashedGaussian(inputs)
    drawn = p.rsample()

    logp = p.logp(drawn)
    logp.sum().backward()

    assert (drawn == 1.0).all()
    assert logp.min() > 40  # the density is huge there, exp(2 u) / 4
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad[:, 0], torch.full((100,), 2.0))  # d(2 u)/d(mean)


def test_a_squashed_draw_carries_its_gradient_only_when_reparametrised() -> None:
    inputs = torch.zeros(2, 4, requires_grad=True)
    p = TorchSquashedGaussian(inputs)

    assert p.rsample().requires_grad
    drawn = p.sample()
    assert not drawn.requires_grad
    assert p.logp(drawn).requires_grad


@pytest.mark.parametrize("cls", [TorchCategorical, TorchBernoulli])
def test_half_precision_parameters_draw_as_finely_as_single_ones(cls: Any) -> None:
    torch.manual_seed(0)
    rare = math.log(0.002)  # finer than the steps of a uniform number in bfloat16
    row = [0.0, rare] if cls is TorchCategorical else [rare]
    inputs = torch.tensor(row).expand(50_000, len(row)).to(torch.bfloat16)

    frequency = cls(inputs).sample().double().mean().item()

    p = 1 / (1 + math.exp(-float(torch.tensor(rare).to(torch.bfloat16))))
    assert abs(frequency - p) < 4.5 * math.sqrt(p / 50_000)
    assert cls(inputs).to_numpy().inputs.dtype == np.float32


def test_what_makes_a_nested_distribution_can_be_pickled_and_copied() -> None:
    make = distribution_config(NESTED, squash=True).build("torch")
    inputs = torch.zeros(2, 7)

    for copy in (pickle.loads(pickle.dumps(make)), deepcopy(make)):
        assert isinstance(copy(inputs), TorchMultiDistribution)
        assert copy(inputs).kl(make(inputs)).tolist() == [0.0, 0.0]


def test_a_part_without_a_numpy_form_leaves_the_whole_without_one() -> None:
    class Loaded(TorchCategorical):
        def sample(self) -> torch.Tensor:
            return torch.ones(self.inputs.shape[:-1], dtype=torch.int64)

    p = distribution_config(NESTED).build("torch")(torch.zeros(2, 7))
    assert p.to_numpy() is not None
    p.each[1] = Loaded(torch.zeros(2, 3))

    assert p.to_numpy() is None
    assert p.sample()["turn"].tolist() == [1, 1]
