"""How the tests make batches, call forwards, and compare what comes out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from gymnasium.vector.utils import batch_space

from rlmodule_core.columns import Columns
from rlmodule_core.distribution import Distribution
from rlmodule_core.frameworks import framework_module
from rlmodule_core.module import Batch, Output, RLModule
from rlmodule_core.nest import Nest, leaves, map_nest
from rlmodule_core.overrides import PHASES

ACTING = PHASES[1:]


class Making:
    """What a user overrides, and what every test is written with."""

    tolerance = 1e-5
    saves = True
    """Whether a checkpoint can be written of it; where not, it is the refusal that is tested."""

    def make_module(self) -> RLModule:
        """Return a new module."""
        raise NotImplementedError("make_module: return a new module of yours")

    def make_batch(self, module: RLModule, phase: str, rows: int) -> dict[str, Any]:
        """Return a batch of `rows` rows that `forward_<phase>` takes, of the module's framework."""
        space = None if module.config is None else module.config.observation_space
        if space is None:
            raise NotImplementedError("make_batch: the module has no observation space to draw from")
        steps = batch_space(space, rows)
        steps.seed(rows)
        obs = map_nest(np.asarray, steps.sample())
        if not module.is_stateful():
            return {Columns.OBS: self._tensors(module, obs)}
        state = map_nest(lambda array: np.stack([array] * rows), module.get_initial_state())
        ones = np.ones((rows, 1), bool)
        arrays = {
            Columns.OBS: map_nest(lambda array: array[:, None], obs),
            Columns.STATE_IN: state,
            Columns.MASK: ones,
            Columns.IS_FIRST: ones,
        }
        return {name: self._tensors(module, column) for name, column in arrays.items()}

    # --- how it is done -----------------------------------------------------------------------

    def _tensors(self, module: RLModule, nest: Nest) -> Nest:
        if module.framework == "numpy":
            return nest
        return framework_module(module.framework, "bridge").to_tensors(nest, module.device)

    def _arrays(self, module: RLModule, nest: Nest) -> Nest:
        return (
            nest
            if module.framework == "numpy"
            else framework_module(module.framework, "bridge").to_numpy(nest)
        )

    def _forward(self, module: RLModule, phase: str, batch: Batch, what: str = "a batch") -> Output:
        with promised(f"forward_{phase} takes {what}"):
            output: Output = getattr(module, f"forward_{phase}")(batch)
        assert isinstance(output, Mapping), f"forward_{phase} returned {type(output).__name__}, no mapping"
        return output

    def _act(self, module: RLModule, phase: str, rows: int) -> Output:
        return self._forward(module, phase, self.make_batch(module, phase, rows))

    def _distribution(self, module: RLModule, output: Output) -> Distribution[Any]:
        assert Columns.ACTION_DIST in output, f"there is no action_dist among {sorted(output)}"
        known: Any = output[Columns.ACTION_DIST]
        if not isinstance(known, Distribution) and module.framework != "numpy":
            with promised("action_dist is a distribution, ours or the framework's own"):
                known = framework_module(module.framework, "bridge").as_distribution(known)
        kind = type(known).__name__
        assert isinstance(known, Distribution), f"action_dist: expected a Distribution, got {kind}"
        return known

    def _seed(self, module: RLModule, number: int) -> None:
        """Put the generators that a forward may draw from into a known state."""
        random.seed(number)
        np.random.seed(number)  # the one that a module without its own draws from
        if module.framework != "numpy":
            framework_module(module.framework, "bridge").seed(number)

    def _draws(self) -> dict[str, Any]:
        """Return what each of these generators, by its name, draws next; a framework adds its own."""
        return {"random": random.random(), "numpy.random": np.random.random_sample()}

    def _policy(self, module: RLModule, batch: Batch, phase: str = "inference") -> Nest:
        """Return what decides the actions: the distribution's parameters, or its mode if it has none."""
        return self._decides(module, self._forward(module, phase, batch))

    def _decides(self, module: RLModule, output: Output) -> Nest:
        distribution = self._distribution(module, output)
        try:
            decides = distribution.inputs
        except NotImplementedError:  # the framework's own kind
            decides = distribution.to_deterministic().sample()
        return self._arrays(module, decides)

    def _close(self, one: Nest, other: Nest) -> bool:
        """Whether two nests have the same shapes and, within the tolerance, the same numbers."""
        ours, theirs = leaves(one), leaves(other)
        if [np.shape(leaf) for leaf in ours] != [np.shape(leaf) for leaf in theirs]:
            return False
        pairs = zip(ours, theirs, strict=True)
        return all(np.allclose(a, b, rtol=self.tolerance, atol=self.tolerance) for a, b in pairs)

    def _act_alike(self, one: RLModule, other: RLModule) -> None:
        batch = self.make_batch(one, "inference", 4)
        assert self._close(self._policy(one, batch), self._policy(other, batch)), "it acts differently"


def refused(error: type[Exception], call: Callable[[], object], what: str) -> Exception:
    """Demand that a call raises `error`, and return it."""
    try:
        call()
    except error as expected:
        return expected
    except Exception as other:
        came = f"{type(other).__name__}: {other}"
        raise AssertionError(f"{what} was not refused with {error.__name__}, but ended in {came}") from other
    raise AssertionError(f"{what} was not refused with {error.__name__}")


@contextmanager
def promised(what: str) -> Iterator[None]:
    """Name the promise that whatever fails within breaks."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"promised: {what}; it ended in {type(error).__name__}: {error}") from error
