"""Between NumPy and torch, and means over real rows."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlmodule_core import MLPEncoderConfig
from rlmodule_torch import TorchMLPEncoder, bridge, masked_mean, require_same_shape, zero_padding


def test_tensors_and_arrays_share_their_memory_on_the_cpu_both_ways() -> None:
    arrays: Any = {"a": np.zeros(3, np.float32), "b": (np.zeros((2, 2), np.int64), [np.zeros(1, np.uint8)])}

    tensors = bridge.to_tensors(arrays, torch.device("cpu"))
    back = bridge.to_numpy(tensors)
    arrays["b"][0][0, 0] = 7
    back["a"][1] = 5

    assert tensors["b"][0][0, 0] == 7
    assert tensors["a"].tolist() == [0, 5, 0]
    assert arrays["a"].tolist() == [0, 5, 0]
    assert tensors["b"][1][0].dtype is torch.uint8


def test_read_only_and_reversed_arrays_are_copied_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    array = np.arange(3.0)
    array.flags.writeable = False

    tensor = bridge.to_tensors(array)
    tensor[0] = 9
    backwards = bridge.to_tensors(np.arange(3.0)[::-1])

    assert array[0] == 0
    assert backwards.tolist() == [2, 1, 0]
    assert bridge.to_tensors(np.float32(2)).shape == ()
    assert len(recwarn) == 0


def test_tensors_that_need_a_gradient_or_have_no_numpy_type_become_arrays_too() -> None:
    assert bridge.to_numpy(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
    half = bridge.to_numpy(torch.tensor([1.5, -2.0], dtype=torch.bfloat16))
    assert half.dtype == np.float32
    assert half.tolist() == [1.5, -2.0]


def test_rows_are_gathered_from_every_column_into_new_memory() -> None:
    columns: Any = {"x": torch.arange(10).view(5, 2), "n": {"y": torch.arange(5)}}

    taken = bridge.take(columns, np.array([3, 0, 3]))

    assert taken["x"].tolist() == [[6, 7], [0, 1], [6, 7]]
    assert taken["n"]["y"].tolist() == [3, 0, 3]
    taken["x"].zero_()
    assert columns["x"][3, 1] == 7


def test_means_are_taken_field_by_field() -> None:
    results = [
        (torch.tensor(1.0), torch.tensor(10.0, requires_grad=True)),
        (torch.tensor(3.0), torch.tensor(20.0)),
    ]
    assert bridge.mean_of(results) == [2.0, 15.0]


def test_the_seed_decides_torchs_draws_and_no_grad_records_nothing() -> None:
    bridge.seed(3)
    first = torch.rand(2)
    bridge.seed(3)
    assert torch.equal(first, torch.rand(2))
    with bridge.no_grad():
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("count", [1, 2, None])
def test_the_number_of_threads_holds_inside_and_is_restored_after_an_exception(count: int | None) -> None:
    before = torch.get_num_threads()
    seen = []

    def stop_inside() -> None:
        with bridge.threads(count):
            seen.append(torch.get_num_threads())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_inside()
    assert seen == [before if count is None else count]
    assert torch.get_num_threads() == before


def test_what_is_made_inside_on_device_is_on_it_and_nothing_outside() -> None:
    with bridge.on_device("meta"):
        assert torch.zeros(1).device.type == "meta"
        assert {
            p.device.type for p in TorchMLPEncoder(MLPEncoderConfig(input_dim=3, hidden=(4,))).parameters()
        } == {"meta"}
    assert torch.zeros(1).device.type == "cpu"


@pytest.mark.parametrize("device", ["cuda:99", "abacus", ""])
def test_a_device_that_cannot_be_used_is_a_value_error_that_names_it(device: str) -> None:
    with pytest.raises(ValueError, match=f"device '{device}' cannot be used"), bridge.on_device(device):
        pass
    assert torch.zeros(1).device.type == "cpu"


MASK = torch.tensor([[True, True, False], [True, False, False]])


def test_a_masked_mean_is_the_sum_over_real_rows_by_their_number() -> None:
    values = torch.arange(6.0).view(2, 3)

    assert masked_mean(values, MASK).item() == pytest.approx((0 + 1 + 3) / 3)
    assert masked_mean(values, None).item() == pytest.approx(15 / 6)
    assert masked_mean(values, torch.zeros_like(MASK)).item() == 0


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), -1e38, 0.0])
def test_what_padding_holds_changes_neither_value_nor_gradient(junk: float) -> None:
    def value_and_gradient(padding: float) -> tuple[Tensor, Tensor]:
        filled: Any = torch.where(MASK, torch.arange(6.0).view(2, 3), padding)
        values = filled.requires_grad_()
        value = masked_mean(values, MASK)
        value.backward()
        assert values.grad is not None
        return value, values.grad

    value, gradient = value_and_gradient(junk)
    expected, expected_gradient = value_and_gradient(1.0)

    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)
    assert not gradient[~MASK].any()


def test_columns_of_different_shapes_are_refused_before_they_broadcast() -> None:
    require_same_shape(a=torch.zeros(3), b=torch.ones(3))
    with pytest.raises(ValueError, match=r"one shape, got logp \[4\], values \[4, 1\]"):
        require_same_shape(logp=torch.zeros(4), values=torch.zeros(4, 1))


def test_padding_set_to_zero_first_cannot_come_back_in_a_gradient() -> None:
    given = torch.tensor([[1.0, 2.0, float("nan")], [3.0, float("inf"), float("nan")]], requires_grad=True)
    whole = torch.ones(2, 3)

    clean, other = zero_padding(MASK, given, whole)
    masked_mean(clean.exp() * other, MASK).backward()

    assert clean.tolist() == [[1, 2, 0], [3, 0, 0]]
    assert other.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert given.grad is not None
    assert not given.grad[~MASK].any()
    torch.testing.assert_close(given.grad[MASK], torch.tensor([1.0, 2.0, 3.0]).exp() / 3)
    assert zero_padding(None, whole)[0] is whole
