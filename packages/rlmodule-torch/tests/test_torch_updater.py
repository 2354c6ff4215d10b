"""The updater: Adam and the three ways of clipping by hand, and steps that must not happen."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlmodule_torch import TorchUpdater

LR, EPSILON, BETA_1, BETA_2 = 0.1, 1e-5, 0.9, 0.999


class Loss(NamedTuple):
    total: Tensor
    extra: Tensor


class Two(nn.Module):
    """Two weights of two components each; the loss is their product with what the batch says."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([1.0, 2.0], dtype=dtype))
        self.b = nn.Parameter(torch.tensor([[3.0], [4.0]], dtype=dtype))
        self.frozen = nn.Parameter(torch.tensor([5.0], dtype=dtype), requires_grad=False)

    def loss(self, batch: Any, coefficients: Any) -> Loss:
        """Its gradient is the batch itself."""
        total = (self.a * batch["a"]).sum() + (self.b[:, 0] * batch["b"]).sum()
        return Loss(total, total.detach() * 2)

    def values(self) -> list[float]:
        return [*self.a.tolist(), *self.b[:, 0].tolist()]


def batch(a: list[float], b: list[float]) -> dict[str, Tensor]:
    return {"a": torch.tensor(a, dtype=torch.float64), "b": torch.tensor(b, dtype=torch.float64)}


def adam(weights: list[float], gradients: list[list[float]], lr: float = LR) -> list[float]:
    """Adam as its paper has it, one weight at a time."""
    result = []
    for i, weight in enumerate(weights):
        m = v = 0.0
        for t, gradient in enumerate(gradients, start=1):
            m = BETA_1 * m + (1 - BETA_1) * gradient[i]
            v = BETA_2 * v + (1 - BETA_2) * gradient[i] ** 2
            weight -= lr * (m / (1 - BETA_1**t)) / (math.sqrt(v / (1 - BETA_2**t)) + EPSILON)
        result.append(weight)
    return result


START = [1.0, 2.0, 3.0, 4.0]
FIRST, SECOND = ([3.0, -4.0], [0.0, 12.0]), ([0.001, 5.0], [-1.0, 2.0])


def flat(gradient: tuple[list[float], list[float]]) -> list[float]:
    return [*gradient[0], *gradient[1]]


def test_steps_are_those_of_adam_and_the_norm_is_told() -> None:
    module = Two()
    updater = TorchUpdater(module, module.loss)

    result = updater.step(batch(*FIRST), {"lr": LR})
    assert module.values() == pytest.approx(adam(START, [flat(FIRST)]))
    updater.step(batch(*SECOND), {"lr": LR})

    assert module.values() == pytest.approx(adam(START, [flat(FIRST), flat(SECOND)]))
    assert float(result.grad_norm) == pytest.approx(13.0)
    assert result.applied
    assert isinstance(result.loss, Loss)
    assert result.loss.extra.item() == 2 * result.loss.total.item()
    assert module.frozen.tolist() == [5.0]


def test_the_learning_rate_of_each_step_is_the_one_it_is_given() -> None:
    module = Two()
    updater = TorchUpdater(module, module.loss)
    updater.step(batch(*FIRST), {"lr": 0.0})
    assert module.values() == START
    updater.step(batch(*FIRST), {"lr": 1.0})
    both, first = (adam(START, [flat(FIRST)] * steps, lr=1.0) for steps in (2, 1))
    expected = [start + after - before for start, after, before in zip(START, both, first, strict=True)]
    assert module.values() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("by", "limit", "clipped"),
    [
        ("value", 3.5, [3.0, -3.5, 0.0, 3.5]),
        ("global_norm", 6.5, [1.5, -2.0, 0.0, 6.0]),  # 13 is halved
        ("norm", 2.5, [1.5, -2.0, 0.0, 2.5]),  # 5 and 12, each to 2.5
        ("norm", 10.0, [3.0, -4.0, 0.0, 10.0]),  # only the second
        ("global_norm", 13.5, [3.0, -4.0, 0.0, 12.0]),
        ("value", 20.0, [3.0, -4.0, 0.0, 12.0]),
    ],
)
def test_clipping_changes_the_gradient_as_computed_by_hand(
    by: Any, limit: float, clipped: list[float]
) -> None:
    module = Two()
    updater = TorchUpdater(module, module.loss, grad_clip=limit, grad_clip_by=by)

    result = updater.step(batch(*FIRST), {"lr": LR})

    assert module.a.grad is not None
    assert module.b.grad is not None
    assert [*module.a.grad.tolist(), *module.b.grad[:, 0].tolist()] == pytest.approx(clipped)
    updater.step(batch(*SECOND), {"lr": 0.0})
    assert module.values() == pytest.approx(adam(START, [clipped]))
    assert float(result.grad_norm) == pytest.approx(13.0)  # before clipping


@pytest.mark.parametrize("by", ["value", "norm", "global_norm"])
def test_a_gradient_of_zero_survives_clipping(by: Any) -> None:
    module = Two()
    updater = TorchUpdater(module, module.loss, grad_clip=1.0, grad_clip_by=by)
    assert updater.step(batch([0.0, 0.0], [0.0, 0.0]), {"lr": LR}).applied
    assert module.values() == START


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("by", [None, "value", "norm", "global_norm"])
def test_a_gradient_that_is_not_finite_changes_no_bit_of_weights_or_optimizer(by: Any, bad: float) -> None:
    module = Two()
    updater = TorchUpdater(
        module, module.loss, grad_clip=1.0 if by else None, grad_clip_by=by or "global_norm"
    )
    updater.step(batch(*FIRST), {"lr": LR})
    before, state = module.values(), updater.get_state()

    result = updater.step(batch([1.0, bad], [0.0, 0.0]), {"lr": LR})

    assert not result.applied
    assert not math.isfinite(result.grad_norm)
    assert module.values() == before
    after = updater.get_state()
    assert after["step"] == state["step"] == 1
    for name in ("exp_avg", "exp_avg_sq"):
        np.testing.assert_array_equal(after[name], state[name])
    assert updater.step(batch(*FIRST), {"lr": LR}).applied  # and the next one is as if nothing happened


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def updater_of(net: nn.Module) -> TorchUpdater:
    def loss(batch: Any, coefficients: Any) -> Loss:
        total = net(batch["x"]).pow(2).mean()
        return Loss(total, total.detach())

    return TorchUpdater(net, loss, grad_clip=0.5)


X = [{"x": torch.randn(16, 3, generator=torch.Generator().manual_seed(i))} for i in range(6)]


def test_a_state_read_back_continues_bit_by_bit() -> None:
    straight, resumed = network(), network()
    first = updater_of(straight)
    for x in X[:3]:
        first.step(x, {"lr": LR})
    weights = {name: tensor.clone() for name, tensor in straight.state_dict().items()}
    state = first.get_state()
    for x in X[3:]:
        first.step(x, {"lr": LR})

    second = updater_of(resumed)
    second.step(X[5], {"lr": 1.0})  # whatever it did before is forgotten
    resumed.load_state_dict(weights)
    second.set_state(state)
    state["exp_avg"][:] = 0  # it is a copy
    for x in X[3:]:
        second.step(x, {"lr": LR})

    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_state_before_the_first_step_resets_an_updater() -> None:
    fresh, used = network(), network()
    empty = updater_of(fresh).get_state()
    assert empty == {"step": 0}
    weights = {name: tensor.clone() for name, tensor in used.state_dict().items()}
    updater = updater_of(used)
    updater.step(X[0], {"lr": LR})
    updater.set_state(empty)
    used.load_state_dict(weights)

    updater.step(X[1], {"lr": LR})
    updater_of(fresh).step(X[1], {"lr": LR})

    for a, b in zip(fresh.parameters(), used.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "step missing"),
        ({"step": 1}, "exp_avg, exp_avg_sq missing"),
        (
            {"step": 1, "exp_avg": np.zeros(3), "exp_avg_sq": np.zeros(4)},
            r"exp_avg: expected \(4,\), got \(3,\)",
        ),
    ],
)
def test_a_state_of_other_parameters_is_refused_and_changes_nothing(state: Any, message: str) -> None:
    module = Two()
    updater = TorchUpdater(module, module.loss)
    updater.step(batch(*FIRST), {"lr": LR})

    with pytest.raises(ValueError, match=message):
        updater.set_state(state)

    assert updater.get_state()["step"] == 1


def test_the_flat_buffer_changes_neither_outputs_nor_names_and_the_module_keeps_working() -> None:
    plain, flattened = network(), network()
    x = X[0]["x"]

    updater = updater_of(flattened)

    assert torch.equal(plain(x), flattened(x))
    assert list(plain.state_dict()) == list(flattened.state_dict())
    flattened.load_state_dict({name: tensor * 2 for name, tensor in plain.state_dict().items()})
    before = flattened(x).detach().clone()
    updater.step(X[0], {"lr": LR})
    assert not torch.equal(flattened(x), before)
    parameters = list(flattened.parameters())
    base = parameters[0].data_ptr()
    for parameter in parameters:  # one after another in one buffer
        assert parameter.data_ptr() == base
        base += parameter.numel() * parameter.element_size()


def test_a_gradient_of_the_step_before_is_not_added() -> None:
    module = Two()
    updater = TorchUpdater(module, module.loss)
    norms = [float(updater.step(batch(*FIRST), {"lr": LR}).grad_norm) for _ in range(3)]
    assert norms == pytest.approx([13.0] * 3)


def test_a_zero_grad_in_between_does_not_stop_the_learning() -> None:
    module = Two()
    updater = TorchUpdater(module, module.loss)
    updater.step(batch(*FIRST), {"lr": LR})
    module.zero_grad(set_to_none=True)

    assert float(updater.step(batch(*SECOND), {"lr": LR}).grad_norm) > 1
    assert module.values() == pytest.approx(adam(START, [flat(FIRST), flat(SECOND)]))


def test_a_weight_used_twice_is_stepped_once() -> None:
    shared = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        shared.weight.fill_(1.0)
    both = nn.ModuleList([shared, nn.Sequential(shared)])

    def loss(batch: Any, coefficients: Any) -> Loss:
        total = sum(layer(torch.ones(1, 1, dtype=torch.float64)).sum() for layer in both)
        return Loss(total, total.detach())

    result = TorchUpdater(both, loss).step({}, {"lr": LR})

    assert float(result.grad_norm) == 2
    assert shared.weight.item() == pytest.approx(adam([1.0], [[2.0]])[0])


def test_mixed_dtypes_no_weights_and_unknown_ways_to_clip_are_refused() -> None:
    mixed = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1).double()])
    loss = Two().loss

    with pytest.raises(ValueError, match=r"must share one dtype and device, got .*float32.*float64"):
        TorchUpdater(mixed, loss)
    with pytest.raises(ValueError, match="Tanh has no trainable parameters"):
        TorchUpdater(nn.Tanh(), loss)
    with pytest.raises(ValueError, match=r"grad_clip_by: expected one of .* got 'l2'"):
        TorchUpdater(Two(), loss, grad_clip_by="l2")  # type: ignore[arg-type]


def test_a_loss_without_a_gradient_is_told_to_have_a_train_forward_of_its_own() -> None:
    def loss(batch: Any, coefficients: Any) -> Loss:
        total = batch["x"].mean()
        return Loss(total, total)

    with pytest.raises(RuntimeError, match=r"no gradient: .* _forward_train of its own"):
        TorchUpdater(network(), loss).step(X[0], {"lr": 1.0})


# --- the halves of a step, for gradients that several share -----------------------------------


@pytest.mark.parametrize("by", ["value", "norm", "global_norm"])
def test_a_gradient_and_its_step_apart_are_one_step_bit_by_bit(by: Any) -> None:
    whole, halves = Two(), Two()
    one, two = (
        TorchUpdater(module, module.loss, grad_clip=2.5, grad_clip_by=by) for module in (whole, halves)
    )
    for part in (FIRST, SECOND):
        result = one.step(batch(*part), {"lr": LR})
        loss, gradient = two.gradient(batch(*part), {"lr": LR})
        before = halves.values()
        assert gradient.tolist() == flat(part)
        norm, applied = two.apply(gradient, LR)

        assert applied
        assert float(norm) == float(result.grad_norm)
        assert isinstance(loss, Loss)
        assert loss.total == result.loss.total.item()
        assert halves.values() == whole.values() != before


def test_a_gradient_that_is_not_finite_is_not_applied() -> None:
    module = Two()
    updater = TorchUpdater(module, module.loss)

    norm, applied = updater.apply(np.array([1.0, math.nan, 0.0, 0.0]), LR)

    assert not applied
    assert math.isnan(norm)
    assert module.values() == START
    assert updater.get_state() == {"step": 0}


def test_flat_weights_travel_from_one_copy_of_a_module_to_another() -> None:
    here, there = Two(), Two()
    sender, receiver = TorchUpdater(here, here.loss), TorchUpdater(there, there.loss)
    sender.step(batch(*FIRST), {"lr": LR})
    weights = sender.get_weights()
    weights.flags.writeable = False  # as what comes out of shared memory

    receiver.set_weights(weights)

    assert there.values() == here.values() == weights.tolist()
    sender.step(batch(*FIRST), {"lr": LR})
    assert there.values() == weights.tolist() != here.values()  # it is a copy
