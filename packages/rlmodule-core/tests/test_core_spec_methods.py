"""What spec methods give, and names that are nearly those to override: refused where they stand."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from rlmodule_core import NumpyCategorical, NumpyRLModule, Output, State
from rlmodule_specs import SpecType, TensorSpec


class Acting(NumpyRLModule):
    """Acts at random."""

    def _forward_exploration(self, batch: Any) -> Output:
        return {"action_dist": NumpyCategorical(np.zeros((3, 2)))}

    _forward_inference = _forward_exploration

    def get_state(self) -> State:
        return {}

    def set_state(self, state: State) -> None:
        pass


def made(**body: Any) -> type[Acting]:
    """Return a class whose body defines these names."""
    return type("Mine", (Acting,), body)


# --- what spec methods give -------------------------------------------------------------------


def test_specs_that_are_no_methods_are_named_all_at_once_with_what_to_write() -> None:
    class Attributes(Acting):
        input_specs_train: ClassVar[Any] = ["obs"]

        @property
        def output_specs_inference(self) -> Any:
            return {"action_dist": None}

    with pytest.raises(TypeError) as caught:
        Attributes()

    assert str(caught.value) == (
        "Attributes.input_specs_train: expected a method that returns a spec, got ['obs'] (list); "
        "Attributes.output_specs_inference: expected a method that returns a spec, got "
        "{'action_dist': None} (dict); write def input_specs_train(self): return ..."
    )


def test_what_is_no_spec_is_named_by_class_and_method_all_at_once() -> None:
    class Wrong(Acting):
        def input_specs_train(self) -> Any:
            return "obs"

        def input_specs_inference(self) -> Any:
            return {"obs": (3, 4)}

    with pytest.raises(
        ValueError,
        match=r"^Wrong\.input_specs_train\(\): 'obs' is no spec.*; Wrong\.input_specs_inference\(\): ",
    ):
        Wrong()


def test_two_sizes_of_one_name_are_told_with_the_forward_whose_specs_give_them() -> None:
    class Twice(Acting):
        def input_specs_train(self) -> SpecType:
            return {"obs": TensorSpec("b, h", h=10)}

        def output_specs_train(self) -> SpecType:
            return {"hidden": TensorSpec("b, h", h=9)}

    with pytest.raises(
        ValueError, match=r"^Twice\.forward_train: 'h' is given as 10 by obs of the batch and as 9 by hidden"
    ):
        Twice()


def test_what_a_spec_method_raises_stays_that_error_with_a_note_of_the_place() -> None:
    class Raising(Acting):
        def output_specs_exploration(self) -> SpecType:
            raise KeyError("hidden")

    with pytest.raises(KeyError, match="hidden") as caught:
        Raising()

    assert caught.value.__notes__ == [
        "in Raising.output_specs_exploration(), which is asked once, when the constructor has run"
    ]


# --- names that are nearly those to override --------------------------------------------------

MISSPELLED = {
    "input_spec_train": "input_specs_train",
    "input_specs_explore": "input_specs_exploration",
    "inputs_specs_inference": "input_specs_inference",
    "inputspecs_train": "input_specs_train",
    "input_spec_explore": "input_specs_exploration",
    "output_specs_explore": "output_specs_exploration",
    "output_specs_infer": "output_specs_inference",
    "output_spec_training": "output_specs_train",
    "_forward_traing": "_forward_train",
    "_forward_training": "_forward_train",
    "_forward_trian": "_forward_train",
    "_forward_tain": "_forward_train",
    "_foward_train": "_forward_train",
    "_forwardtrain": "_forward_train",
    "_forward_explore": "_forward_exploration",
    "_forward_exploring": "_forward_exploration",
    "_forward_exporation": "_forward_exploration",
    "_forward_infer": "_forward_inference",
    "_forward_inferance": "_forward_inference",
    "_forward_infernce": "_forward_inference",
    "forward_explore": "_forward_exploration",
    "forward_training": "_forward_train",
    "forward_inferences": "_forward_inference",
}

HELPERS = [
    "_forward",
    "_forward_actor",
    "_forward_body",
    "_forward_critic",
    "_forward_embedding",
    "_forward_encoder",
    "_forward_ensemble",
    "_forward_expert",
    "_forward_explanation",
    "_forward_exploration_bonus",
    "_forward_export",
    "_forward_features",
    "_forward_features_train",
    "_forward_hidden",
    "_forward_image",
    "_forward_influence",
    "_forward_inner",
    "_forward_internal",
    "_forward_intrinsic",
    "_forward_inverse",
    "_forward_logits",
    "_forward_pi",
    "_forward_policy",
    "_forward_reference",
    "_forward_shared",
    "_forward_state",
    "_forward_target",
    "_forward_terrain",
    "_forward_torso",
    "_forward_train_step",
    "_forward_trajectory",
    "_forward_trans",
    "_forward_transformer",
    "_forward_transition",
    "_forward_trunk",
    "_forward_value",
    "_forward_vf",
    "_input_specs_train",
    "forward",
    "forward_encoder",
    "forward_export",
    "forward_hidden",
    "forward_transform",
    "input_size",
    "input_spec",
    "input_specs",
    "input_specs_critic",
    "input_specs_encoder",
    "output_specs",
    "output_specs_value",
    "train",
    "backward_train",
]


@pytest.mark.parametrize(("name", "meant"), MISSPELLED.items())
def test_a_misspelled_override_is_refused_when_the_class_is_made(name: str, meant: str) -> None:
    with pytest.raises(TypeError) as caught:
        made(**{name: lambda self, batch: {}})

    assert str(caught.value) == (
        f"Mine: RLModule calls no {name} (did you mean {meant}?); write the name that it calls, or give "
        "a method of your own another name"
    )


@pytest.mark.parametrize("name", HELPERS)
def test_a_helper_of_ones_own_may_be_named_like_the_forwards(name: str) -> None:
    assert hasattr(made(**{name: lambda self, batch: {}}), name)


def test_all_misspelled_names_of_a_class_are_told_at_once_in_its_order() -> None:
    with pytest.raises(
        TypeError,
        match=r"calls no input_spec_train \(did you mean input_specs_train\?\), "
        r"_forward_traing \(did you mean _forward_train\?\); write",
    ):
        made(input_spec_train=lambda self: {}, size=3, _forward_traing=lambda self, batch: {})


def test_a_mixin_cannot_misspell_an_override_either_and_is_told_so_once() -> None:
    mixin = type("Mixin", (), {"input_spec_train": lambda self: {}})

    with pytest.raises(TypeError, match=r"^Mine: RLModule calls no input_spec_train \("):
        type("Mine", (mixin, Acting), {})
