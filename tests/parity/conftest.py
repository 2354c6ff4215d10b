"""The three array worlds behind one face, so that one test body holds for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
import torch

import rlmodule_tf
import rlmodule_torch
from rlmodule_core import distribution_config, numpy_distribution, numpy_distributions
from rlmodule_core.nest import Nest, map_nest

Array = npt.NDArray[Any]


class Backend:
    """What a test asks of a framework: NumPy arrays in, NumPy arrays out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.package: Any = {"numpy": numpy_distributions, "torch": rlmodule_torch, "tf": rlmodule_tf}[name]

    def cls(self, kind: str) -> Any:
        """The class `TorchCategorical`, say."""
        return getattr(self.package, {"numpy": "Numpy", "torch": "Torch", "tf": "Tf"}[self.name] + kind)

    def make(self, space: gym.Space[Any], inputs: Array, *, squash: bool = False) -> Any:
        """The default distribution over a space."""
        config = distribution_config(space, squash=squash)
        make = numpy_distribution(config) if self.name == "numpy" else config.build(self.name)
        return make(self.tensors(inputs))

    def tensors(self, nest: Nest) -> Nest:
        if self.name == "numpy":
            return nest
        return map_nest(torch.from_numpy if self.name == "torch" else tf.constant, nest)

    def arrays(self, nest: Nest) -> Nest:
        if self.name == "torch":
            return map_nest(lambda tensor: tensor.detach().numpy(), nest)
        return map_nest(np.asarray, nest)

    def seed(self, number: int) -> None:
        torch.manual_seed(number)
        tf.random.set_seed(number)

    def draw(self, distribution: Any, seed: int) -> Nest:
        if self.name == "numpy":
            return distribution.sample(np.random.default_rng(seed))
        self.seed(seed)
        return self.arrays(distribution.sample())

    def gradient(self, function: Callable[[Any], Any], inputs: Array) -> Array:
        """The gradient of the sum of `function(inputs)`; NumPy's is a central difference."""
        result: Array
        if self.name == "torch":
            leaf = torch.tensor(inputs, requires_grad=True)
            function(leaf).sum().backward()
            assert leaf.grad is not None
            result = leaf.grad.numpy()
        elif self.name == "tf":
            variable = tf.constant(inputs)
            with tf.GradientTape() as tape:
                tape.watch(variable)
                total = tf.reduce_sum(function(variable))
            result = np.asarray(tape.gradient(total, variable))
        else:
            result = np.zeros_like(inputs)
            for index in np.ndindex(*inputs.shape):
                step = np.zeros_like(inputs)
                step[index] = 1e-6
                result[index] = (function(inputs + step).sum() - function(inputs - step).sum()) / 2e-6
        return result


@pytest.fixture(params=["numpy", "torch", "tf"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return Backend(request.param)


@pytest.fixture
def backends() -> dict[str, Backend]:
    return {name: Backend(name) for name in ("numpy", "torch", "tf")}
