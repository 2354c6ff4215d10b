"""The module contract, shown by modules of plain NumPy."""

import copy
import math
import pickle
from collections import ChainMap, OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    DEFAULT_MODULE_ID,
    Batch,
    NestedDict,
    NumpyCategorical,
    NumpyDeterministic,
    NumpyRLModule,
    Output,
    RLModule,
    RLModuleConfig,
    State,
)
from rlmodule_specs import SpecError, SpecType, TensorSpec

OBS = spaces.Dict({"arm": spaces.Box(-1, 1, (3,)), "eye": spaces.Box(0, 255, (2, 2), dtype=np.uint8)})


class Plain(NumpyRLModule):
    """Logits of two actions, all equal; remembers the batches that arrived."""

    def __init__(self, config: RLModuleConfig | None = None) -> None:
        super().__init__(config)
        self.seen: list[Batch] = []

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        self.seen.append(batch)
        return {"action_dist": NumpyCategorical(np.zeros((2, 2)))}

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_train(batch)

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_train(batch)

    def get_state(self) -> State:
        return {}

    def set_state(self, state: State) -> None:
        pass


class Bound(Plain):
    """The batch size is a name, used on both sides."""

    def input_specs_inference(self) -> SpecType:
        return {"obs": TensorSpec("b, 3"), "mask": TensorSpec("b")}

    def output_specs_inference(self) -> SpecType:
        return {"logits": TensorSpec("b, a")}

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return {"logits": np.zeros((kwargs["rows"], 5))}


def with_space(space: Any) -> RLModuleConfig:
    return RLModuleConfig(observation_space=space, action_space=spaces.Discrete(2))


def good_batch(*leading: int) -> dict[str, Any]:
    return {"obs": {"arm": np.zeros((*leading, 3)), "eye": np.zeros((*leading, 2, 2))}}


def test_a_class_without_its_forwards_cannot_be_built_and_the_error_names_them() -> None:
    class Half(Plain):
        _forward_exploration = RLModule._forward_exploration  # type: ignore[assignment]  # takes any batch
        _forward_inference = RLModule._forward_inference  # type: ignore[assignment]

    with pytest.raises(
        TypeError, match=r"Half cannot be built: it lacks _forward_exploration, _forward_inference;"
    ):
        Half()


def test_without_a_forward_of_its_own_training_computes_what_exploring_does() -> None:
    class Acting(Plain):
        _forward_train = RLModule._forward_train  # type: ignore[assignment]  # takes any batch

        def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
            return {"action_dist": NumpyCategorical(np.zeros((2, 2))), "explored": kwargs["how"]}

    assert Acting().forward_train({"obs": 1}, how="boldly")["explored"] == "boldly"


@pytest.mark.parametrize("name", ["forward_train", "forward_exploration", "forward_inference"])
def test_overriding_a_public_forward_is_refused_when_the_class_is_made(name: str) -> None:
    with pytest.raises(TypeError, match=f"Sly overrides {name}, .* override _{name} instead"):
        type("Sly", (Plain,), {name: lambda self, batch: {}})
    with pytest.raises(TypeError, match=f"Sly overrides {name}"):
        type("Sly", (Plain,), {"framework": "numpy", name: lambda self, batch: {}})
    with pytest.raises(TypeError, match=f"Sly overrides {name}"):
        type("Sly", (RLModule,), {name: lambda self, batch: {}})


def test_a_class_that_brings_a_framework_in_may_have_forwards_of_its_own_and_those_below_it_not() -> None:
    def forward_train(self: RLModule, batch: Batch) -> Output:
        return {"checked": self._check_train.input(batch)}

    new: Any = type("New", (RLModule,), {"framework": "abacus", "forward_train": forward_train})

    assert new.forward_train is forward_train
    with pytest.raises(TypeError, match="Sly overrides forward_train"):
        type("Sly", (new,), {"forward_train": lambda self, batch: {}})


def test_a_mixin_cannot_override_a_public_forward_either() -> None:
    class Mixin:
        def forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            return {}

    with pytest.raises(TypeError, match="Sly overrides forward_train"):
        type("Sly", (Mixin, Plain), {})


@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
def test_the_batch_must_be_of_the_observation_space_at_call_1_2_and_1000(phase: str) -> None:
    module = Plain(with_space(OBS))
    forward = getattr(module, f"forward_{phase}")
    wrong = {"obs": {"arm": np.zeros((5, 4)), "eye": np.zeros((5, 2, 2))}}

    for call in range(1, 1001):
        if call in (1, 2, 1000):
            with pytest.raises(SpecError) as caught:
                forward(wrong)
            assert [problem.path for problem in caught.value.problems] == ["obs.arm"]
            assert f"Plain.forward_{phase}: the batch breaks input_specs_{phase}()" in str(caught.value)
        else:
            forward(good_batch(5))
    assert len(module.seen) == 997  # a refused batch never arrives


@pytest.mark.parametrize("remake", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copied_or_unpickled_module_still_checks_its_batches(remake: Any) -> None:
    module = remake(Plain(with_space(OBS)))

    module.forward_train(good_batch(5))
    with pytest.raises(SpecError, match="arm"):
        module.forward_train({"obs": {"eye": np.zeros((5, 2, 2))}})


@pytest.mark.parametrize("leading", [(), (4,), (4, 7)])
def test_any_leading_dimensions_may_stand_before_an_observation(leading: tuple[int, ...]) -> None:
    assert "action_dist" in Plain(with_space(OBS)).forward_inference(good_batch(*leading))


def test_a_tuple_observation_is_checked_part_by_part() -> None:
    space = spaces.Tuple([spaces.Box(-1, 1, (3,)), OBS])
    module = Plain(with_space(space))
    module.forward_train({"obs": (np.zeros((5, 3)), good_batch(5)["obs"])})

    with pytest.raises(SpecError) as caught:
        module.forward_train({"obs": (np.zeros((5, 2)), {"arm": np.zeros((5, 3))})})

    assert len(caught.value.problems) == 2
    assert "3" in caught.value.problems[0].expected
    assert "eye" in caught.value.problems[1].path


@pytest.mark.parametrize("space", [spaces.Text(5), spaces.Tuple([])])
def test_a_space_without_arrays_is_not_checked(space: Any) -> None:
    assert Plain(with_space(space)).forward_train({"obs": "hello"})


def test_without_a_config_a_batch_needs_obs_and_nothing_more() -> None:
    module = Plain(None)

    assert module.forward_train({"obs": object()})
    with pytest.raises(SpecError, match="obs"):
        module.forward_train({"observations": 1})


def test_a_name_is_bound_across_the_input_before_the_module_runs() -> None:
    with pytest.raises(SpecError, match=r"b=4 .*obs"):
        Bound().forward_inference({"obs": np.zeros((4, 3)), "mask": np.zeros(3)}, rows="never used")


def test_a_name_that_the_input_bound_holds_in_the_output_too() -> None:
    batch = {"obs": np.zeros((4, 3)), "mask": np.zeros(4)}
    assert Bound().forward_inference(batch, rows=4)["logits"].shape == (4, 5)

    with pytest.raises(SpecError, match="the output breaks output_specs_inference") as caught:
        Bound().forward_inference(batch, rows=6)

    assert [problem.path for problem in caught.value.problems] == ["logits"]


@pytest.mark.parametrize("phase", ["exploration", "inference"])
def test_acting_without_an_action_dist_is_refused_with_this_very_message(phase: str) -> None:
    class Mute(Plain):
        def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
            return {"actions": np.zeros(2)}

        _forward_inference = _forward_exploration

    with pytest.raises(SpecError) as caught:
        getattr(Mute(), f"forward_{phase}")({"obs": 1})

    assert str(caught.value) == (
        f"Mute.forward_{phase}: the output breaks output_specs_{phase}() in 1 place\n"
        "  action_dist:  expected a distribution over NumPy arrays, such as NumpyCategorical(logits), "
        "got no such key, did you mean 'actions'?"
    )


def test_training_may_return_anything() -> None:
    class Silent(Plain):
        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            return {}

    assert Silent().forward_train({"obs": 1}) == {}


@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
def test_the_batch_may_be_passed_by_keyword_and_arrives_as_the_very_object(phase: str) -> None:
    module = Plain(with_space(OBS))
    batch = good_batch(5)

    getattr(module, f"forward_{phase}")(batch=batch)

    assert module.seen[0] is batch


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType, NestedDict, ChainMap])
def test_a_batch_may_be_any_mapping_and_gets_the_same_verdict(kind: Any) -> None:
    module = Plain(with_space(OBS))
    good: Mapping[str, Any] = kind(good_batch(5))
    bad: Mapping[str, Any] = kind({"obs": {"arm": np.zeros((5, 3))}})

    module.forward_train(good)
    assert module.seen == [good] if kind is not NestedDict else module.seen[0] is good
    with pytest.raises(SpecError, match=r"obs\.eye"):
        module.forward_train(bad)


def test_spec_methods_may_use_what_the_constructor_of_a_subclass_made() -> None:
    class Sized(Plain):
        def __init__(self, config: RLModuleConfig | None = None) -> None:
            super().__init__(config)
            self.size = 7

        def input_specs_train(self) -> SpecType:
            return {"obs": TensorSpec("b, h", h=self.size)}

    Sized().forward_train({"obs": np.zeros((2, 7))})
    with pytest.raises(SpecError, match="7"):
        Sized().forward_train({"obs": np.zeros((2, 6))})


def test_spec_methods_are_asked_once_and_not_at_every_call() -> None:
    class Counting(Plain):
        asked = 0

        def input_specs_train(self) -> SpecType:
            type(self).asked += 1
            return ["obs"]

    module = Counting()
    for _ in range(10):
        module.forward_train({"obs": 1})

    assert Counting.asked == 1


def test_extra_arguments_reach_the_forward() -> None:
    class Echo(Plain):
        def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
            return kwargs

    assert Echo().forward_train({"obs": 1}, temperature=math.pi) == {"temperature": math.pi}


def test_as_multi_agent_holds_the_module_itself_as_default_policy() -> None:
    module = Plain()

    many = module.as_multi_agent()

    assert DEFAULT_MODULE_ID == "default_policy"
    assert dict(many.items()) == {"default_policy": module}
    assert many.as_multi_agent() is many


def test_a_module_is_stateless_and_unwrapped_unless_it_says_otherwise() -> None:
    class Recurrent(Plain):
        def get_initial_state(self) -> State:
            return {"h": np.zeros(3)}

    assert not Plain().is_stateful()
    assert Plain().get_initial_state() == {}
    assert Recurrent().is_stateful()
    module = Plain()
    assert module.unwrapped() is module
    assert module.numpy_form() is None


def test_an_action_dist_of_any_class_passes_the_output_check() -> None:
    class Odd(Plain):
        def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
            return {"action_dist": NumpyDeterministic(np.zeros(2))}

    assert isinstance(Odd().forward_inference({"obs": 1})["action_dist"], NumpyDeterministic)
