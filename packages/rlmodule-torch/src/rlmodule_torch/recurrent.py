"""The encoder with a memory: any encoder of each step, then one LSTM or GRU over time."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rlmodule_core import RecurrentEncoderConfig
from rlmodule_core.encoder_configs import first_leaf, map_leaves
from rlmodule_core.initializers import recurrent_weights
from rlmodule_core.model_config import output_dim
from rlmodule_core.nest import Nest
from rlmodule_torch.arrays import as_array
from rlmodule_torch.layers import TorchLayer, generator, parameter

States = dict[str, Tensor]
SPLIT_ON = ("cpu",)  # the devices where sequences of several lengths take several calls

# An updater holds all weights in one buffer, which is contiguous but not the layer's own.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")


class TorchRecurrentEncoder(TorchLayer):
    """`[B, T, ...]` and a state `{"h": [B, H], "c": [B, H]}` (a GRU's has no c) -> `[B, T, H]` and a state.

    Steps where `mask` is False leave the state as it was and have features of 0; what they hold is
    never looked at. Where `is_first` is True, a real step starts from the initial state.
    """

    def __init__(self, config: RecurrentEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.base: nn.Module = config.base.build("torch")
        self.rnn = _rnn(config, output_dim(config.base))
        self._names = tuple(config.initial_state())
        for name, part in config.initial_state().items():
            self.register_buffer(f"initial_{name}", torch.tensor(part), persistent=False)

    def initial_state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the state at the start of an episode, without batch axis."""
        return self.config.initial_state()

    def forward(
        self,
        obs: Nest,  # leaves [B, T, ...]
        state: Any,
        mask: Tensor | None = None,  # [B, T]
        is_first: Tensor | None = None,  # [B, T]
    ) -> tuple[Tensor, States]:
        """Return the features `[B, T, H]` and the state behind the last real step, all in one pass.

        The first `burn_in` steps of a longer sequence make the state, but carry no gradient. Where an episode
        begins in them they do from then on, as the state is known. Where there are no rows or no steps there
        are no features, and the state stays. Raises ValueError if `mask` or `is_first` has another shape
        than the steps.
        """
        sizes = first_leaf(obs).shape[:2]
        for name, flags in (("mask", mask), ("is_first", is_first)):
            if flags is not None and flags.shape != sizes:
                raise ValueError(f"{name}: expected shape {list(sizes)}, got {list(flags.shape)}")
        kind = cast(Tensor, self.rnn.weight_ih_l0).dtype
        state = {name: state[name].to(kind) for name in self._names}
        if 0 in sizes:  # which a layer of torch refuses
            return state["h"].new_zeros(*sizes, self.config.hidden_dim), state
        burn_in = self.config.burn_in
        if not 0 < burn_in < sizes[1]:
            return self._run(sizes, obs, state, mask, is_first)
        with torch.no_grad() if is_first is None else nullcontext():
            start, state = self._run(*_times(slice(burn_in), obs, state, mask, is_first))
        if is_first is not None:
            known = is_first[:, :burn_in].int().cumsum(dim=1)[..., None] > 0
            start = torch.where(known, start, start.detach())
            state = {name: torch.where(known[:, -1], part, part.detach()) for name, part in state.items()}
        rest, state = self._run(*_times(slice(burn_in, None), obs, state, mask, is_first))
        return torch.cat([start, rest], dim=1), state

    def _run(
        self, sizes: torch.Size, obs: Nest, state: States, mask: Tensor | None, is_first: Tensor | None
    ) -> tuple[Tensor, States]:
        if mask is None and is_first is None:
            return self._whole(sizes, obs, state)
        if sizes[1] == 1:
            return self._one_step(sizes, obs, state, mask, is_first)
        # the one wait for the device: where sequences start and end decides what is computed
        real = np.ones(sizes, bool) if mask is None else as_array(mask.bool())
        first = np.zeros(sizes, bool) if is_first is None else as_array(is_first.bool())
        if not real.all() or first[:, 1:].any():
            return self._packed(sizes, obs, state, _sequences(real, first))
        start = state if is_first is None else self._reset(state, is_first[:, 0].bool())
        return self._whole(sizes, obs, start)

    def _one_step(
        self, sizes: torch.Size, obs: Nest, state: States, mask: Tensor | None, is_first: Tensor | None
    ) -> tuple[Tensor, States]:
        """Compute T = 1, as acting does, without a wait for the device."""
        start = state if is_first is None else self._reset(state, is_first[:, 0].bool())
        if mask is None:
            return self._whole(sizes, obs, start)
        real = mask.bool()
        features, after = self._whole(sizes, map_leaves(lambda leaf: _zero_unless(real, leaf), obs), start)
        after = {name: torch.where(real, after[name], old) for name, old in state.items()}
        return _zero_unless(real, features), after

    def _whole(self, sizes: torch.Size, obs: Nest, state: States) -> tuple[Tensor, States]:
        """Compute every step of every row."""
        x: Tensor = self.base(map_leaves(_fold, obs))
        by_time = x.to(state["h"].dtype).reshape(*sizes, -1).transpose(0, 1)
        found, state = self._cell(by_time, state)
        return found.transpose(0, 1), state

    def _packed(self, sizes: torch.Size, obs: Nest, state: States, plan: _Sequences) -> tuple[Tensor, States]:
        """Compute the real steps alone: each row's, cut where it is reset, is a sequence of its own."""
        device = state["h"].device
        step, row, fresh, tail = (torch.from_numpy(part).to(device) for part in plan[:4])
        features = torch.zeros(sizes.numel(), self.config.hidden_dim, dtype=state["h"].dtype, device=device)
        if not len(step):
            return features.view(*sizes, -1), state
        x: Tensor = self.base(map_leaves(lambda leaf: leaf.flatten(0, 1).index_select(0, step), obs))
        start = self._reset({name: old.index_select(0, row) for name, old in state.items()}, fresh)
        found, ends = self._cells(x.to(state["h"].dtype), start, plan.batch_sizes)
        features = features.index_copy(0, step, found)
        ended = tail >= 0  # else the row has no real step
        place = tail.clamp(min=0)
        after = {
            name: torch.where(ended[:, None], ends[name].index_select(0, place), old)
            for name, old in state.items()
        }
        return features.view(*sizes, -1), after

    def _cells(self, x: Tensor, state: States, batch_sizes: npt.NDArray[np.int64]) -> tuple[Tensor, States]:
        """Compute S sequences, the longest first, in one call, or in one for each of their lengths.

        On a CPU these calls are faster than the one, elsewhere that is three times as fast.
        """
        if x.device.type not in SPLIT_ON:
            outputs, ends = self._cell(PackedSequence(x, torch.from_numpy(batch_sizes)), state)
            return outputs.data, ends
        sizes, times = np.unique(-batch_sizes, return_counts=True)
        sizes, going = (-sizes).tolist(), state
        found, ended = [], []
        for size, part in zip(sizes, x.split((sizes * times).tolist()), strict=True):
            ended.append({name: old[size:] for name, old in going.items()})
            going = {name: old[:size] for name, old in going.items()}
            outputs, going = self._cell(part.unflatten(0, (-1, size)), going)
            found.append(outputs.flatten(0, 1))
        ended.append(going)
        ends = {name: torch.cat([part[name] for part in reversed(ended)]) for name in state}
        return torch.cat(found), ends

    def _cell(self, x: Any, state: States) -> tuple[Any, States]:
        """Compute `[T, B, n]` or a PackedSequence in one call."""
        h, *c = (part[None].contiguous() for part in state.values())
        found, end = self.rnn(x, (h, c[0]) if c else h)
        return found, {"h": end[0][0], "c": end[1][0]} if c else {"h": end[0]}

    def _reset(self, state: States, first: Tensor) -> States:
        """Return the state with the initial one in the rows where `first` `[B]` is True."""
        initial = {name: getattr(self, f"initial_{name}") for name in state}
        return {name: torch.where(first[:, None], initial[name], part) for name, part in state.items()}


class _Sequences(NamedTuple):
    """The real steps as S sequences, the longest first."""

    step: npt.NDArray[np.int64]  # [N] where each stands among B * T, all first ones first, and so on
    row: npt.NDArray[np.int64]  # [S] which row each sequence is of
    fresh: npt.NDArray[np.bool_]  # [S] whether it starts from the initial state
    tail: npt.NDArray[np.int64]  # [B] which sequence each row ends with, -1 for none
    batch_sizes: npt.NDArray[np.int64]  # [longest] how many sequences have a step there


def _sequences(real: npt.NDArray[np.bool_], first: npt.NDArray[np.bool_]) -> _Sequences:
    """Cut the real steps of each row where it is reset; holes vanish, as they change no state."""
    step = np.flatnonzero(real)
    row = step // real.shape[1]
    begins = first.ravel()[step]
    begins[np.flatnonzero(np.diff(row, prepend=-1))] = True
    begin = np.flatnonzero(begins)
    length = np.diff(begin, append=len(step))
    order = np.argsort(-length, kind="stable")
    begin, length = begin[order], length[order]
    time = np.arange(length.max(initial=0))[:, None]
    going = time < length  # [longest, S]
    tail = np.full(len(real), -1)
    by_time = np.argsort(begin)
    tail[row[begin][by_time]] = by_time  # of a row's sequences the last one stays
    return _Sequences(
        step=step[(begin + time)[going]],
        row=row[begin],
        fresh=first.ravel()[step[begin]],
        tail=tail,
        batch_sizes=going.sum(axis=1),
    )


def _times(
    part: slice, obs: Nest, state: States, mask: Tensor | None, is_first: Tensor | None
) -> tuple[torch.Size, Nest, States, Tensor | None, Tensor | None]:
    """Return the arguments of a run over some of the steps."""
    flags = (None if column is None else column[:, part] for column in (mask, is_first))
    obs = map_leaves(lambda leaf: leaf[:, part], obs)
    return first_leaf(obs).shape[:2], obs, state, *flags


def _fold(leaf: Tensor) -> Tensor:
    """Return `[B, T, ...]` as `[B * T, ...]`."""
    return leaf.flatten(0, 1)


def _zero_unless(real: Tensor, leaf: Tensor) -> Tensor:
    """Return `[B, T, ...]` with 0 in the steps that are not real."""
    return torch.where(real.reshape(*real.shape, *[1] * (leaf.dim() - 2)), leaf, torch.zeros_like(leaf))


def _rnn(config: RecurrentEncoderConfig, inputs: int) -> nn.LSTM | nn.GRU:
    hidden, is_lstm = config.hidden_dim, config.cell == "lstm"
    gates = {"lstm": 4, "gru": 3}[config.cell]
    rnn = (nn.LSTM if is_lstm else nn.GRU)(inputs, hidden, device="meta")
    from_inputs, from_hidden = recurrent_weights(
        config.initializer, generator(), gates=gates, inputs=inputs, hidden=hidden
    )
    bias = np.zeros(gates * hidden, np.float32)
    rnn.weight_ih_l0, rnn.weight_hh_l0 = parameter(from_inputs), parameter(from_hidden)
    rnn.bias_hh_l0 = parameter(bias)
    if is_lstm:
        bias[hidden : 2 * hidden] = config.forget_bias
    rnn.bias_ih_l0 = parameter(bias)
    # So that it knows its new weights: else its first forward on a GPU would move them elsewhere.
    return rnn.to(cast(Tensor, rnn.weight_ih_l0).device)
