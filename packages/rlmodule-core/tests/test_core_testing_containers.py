"""The conformance suite of containers passes for sound ones and fails, in words, for each broken promise."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    Batch,
    MultiAgentRLModule,
    MultiAgentRLModuleConfig,
    NumpyCategorical,
    NumpyRLModule,
    Output,
    RLModule,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
    State,
)
from rlmodule_core.state import check_same_state
from rlmodule_core.testing import MultiAgentConformance


class Linear(NumpyRLModule):
    """Logits are `obs W`; other modules may hold the same W."""

    def __init__(self, config: RLModuleConfig | None) -> None:
        super().__init__(config)
        self.w = np.random.default_rng().normal(size=(3, 2))

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(batch["obs"] @ self.w)}

    _forward_inference = _forward_exploration

    def get_state(self) -> State:
        return {"w": self.w.copy()}

    def set_state(self, state: State) -> None:
        check_same_state({"w": self.w}, state, where="set_state")
        self.w[...] = state["w"]

    def _tensors(self) -> dict[str, Any]:
        return {"w": self.w}


RECIPE = SingleAgentRLModuleSpec(
    module_class=Linear,
    observation_space=spaces.Box(-1, 1, (3,)),
    action_space=spaces.Discrete(2),
    model_config_dict={},
)
CONFIG = MultiAgentRLModuleConfig(modules={"a": RECIPE, "b": RECIPE, "c": RECIPE})


class Sharing(MultiAgentRLModule):
    """`a` and `c` are of one matrix."""

    def build(self) -> None:
        super().build()
        self._rl_modules["c"].w = self._rl_modules["a"].w  # type: ignore[attr-defined]


class TestPlain(MultiAgentConformance):
    def make_modules(self) -> MultiAgentRLModule:
        return MultiAgentRLModule(CONFIG)


class TestSharing(MultiAgentConformance):
    def make_modules(self) -> MultiAgentRLModule:
        return Sharing(CONFIG)


# --- broken in one place each -----------------------------------------------------------------


class Adding(MultiAgentRLModule):
    def __contains__(self, module_id: object) -> bool:
        return True


class Lazy(MultiAgentRLModule):
    """Looks for a module when it is its turn."""

    def forward_train(self, batch: Any, **kwargs: Any) -> Any:
        return {key: self[key].forward_train(data) for key, data in batch.items()}


class Whole(MultiAgentRLModule):
    """Gives an output for each of its modules."""

    def forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
        return {key: dict(batch) for key in self}


class Replacing(MultiAgentRLModule):
    def add_module(self, module_id: str, module: RLModule, override: bool = False) -> None:
        super().add_module(module_id, module, override=True)


class Twofold(Sharing):
    def get_state(self) -> State:
        return copy.copy({key: module.get_state() for key, module in self.items()})


class Deaf(MultiAgentRLModule):
    def set_state(self, state: State) -> None:
        for key in state:
            self[key]


class Forgetting(MultiAgentRLModule):
    @classmethod
    def from_checkpoint(cls, directory: Any, **kwargs: Any) -> Any:
        return cls(CONFIG)


class Attached(MultiAgentRLModule):
    def __deepcopy__(self, memo: Any) -> Any:
        return copy.copy(self)


BROKEN = {
    Adding: ("test_it_is_a_mapping_of_ids_to_modules", "it has an id that nobody added"),
    Whole: (
        "test_a_forward_gives_the_ids_of_its_batch",
        r"a batch of \['b', 'c'\] gave \['a', 'b'",
    ),
    Lazy: (
        "test_an_unknown_id_is_refused_before_any_module_ran",
        "train: a, b, c.* ran before the unknown id was refused",
    ),
    Replacing: (
        "test_modules_can_be_added_replaced_and_removed",
        "an id that is taken was not refused with ValueError",
    ),
    Twofold: (
        "test_what_modules_share_is_one_parameter_and_stays_shared",
        "c.w is shared with a.w, but has an array of its own",
    ),
    Deaf: (
        "test_a_state_makes_another_container_act_the_same_or_changes_nothing",
        r"set_state did not take over a\.w",
    ),
    Forgetting: ("test_a_checkpoint_gives_a_container_that_acts_the_same", "a acts differently"),
    Attached: (
        "test_copies_act_the_same_with_weights_of_their_own",
        r"setting a copy's state changed a\.w",
    ),
}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [(cls, *broken) for cls, broken in BROKEN.items()],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_container_that_breaks_a_promise_fails_the_test_of_that_promise_in_its_words(
    cls: Any, test: str, words: str
) -> None:
    class Suite(MultiAgentConformance):
        def make_modules(self) -> MultiAgentRLModule:
            modules: MultiAgentRLModule = cls(CONFIG)
            return modules

    with pytest.raises(AssertionError, match=words):
        getattr(Suite(), test)()


def test_every_promise_of_a_container_is_broken_by_one_above() -> None:
    tests = {name for name in dir(MultiAgentConformance) if name.startswith("test_")}
    assert tests == {test for test, _ in BROKEN.values()}
