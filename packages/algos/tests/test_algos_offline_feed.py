"""Batches of recorded steps: each step counts once an epoch, and memories begin where acting would be."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlmodule_algos.bc import BCTorchRLModule
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.offline import OfflineEpisode, stack_steps
from rlmodule_algos.offline.feed import SequenceFeed, StepFeed
from rlmodule_catalogs import BCCatalog
from rlmodule_core import RLModule, SingleAgentRLModuleSpec
from rlmodule_core.nest import leaves, map_nest

LENGTHS = [7, 1, 20, 3, 9]
LAST = 1000  # actions that can be


def numbered(lengths: list[int]) -> list[OfflineEpisode]:
    """Episodes whose steps have numbers of their own, as actions."""
    starts = np.cumsum([0, *lengths])
    rng = np.random.default_rng(0)
    return [
        OfflineEpisode(
            obs=rng.normal(size=(length + 1, 3)).astype(np.float32),
            actions=np.arange(start, start + length),
            rewards=np.zeros(length, np.float32),
            terminated=True,
            truncated=False,
        )
        for start, length in zip(starts, lengths, strict=False)
    ]


def memory(max_seq_len: int, burn_in: int) -> RLModule:
    return SingleAgentRLModuleSpec(
        module_class=BCTorchRLModule,
        catalog_class=BCCatalog,
        observation_space=gym.spaces.Box(-9.0, 9.0, (3,)),
        action_space=gym.spaces.Discrete(LAST),
        model_config_dict={
            "fcnet_hiddens": [4],
            "use_lstm": True,
            "lstm_cell_size": 4,
            "max_seq_len": max_seq_len,
            "burn_in": burn_in,
        },
    ).build()


def sequences(max_seq_len: int, burn_in: int = 0, lengths: list[int] = LENGTHS) -> SequenceFeed:
    return SequenceFeed(numbered(lengths), memory(max_seq_len, burn_in), Framework("torch").bridge, seed=0)


def learned(batch: dict[str, Any]) -> list[int]:
    mask = batch.get("loss_mask")
    actions = batch["actions"] if mask is None else batch["actions"][mask]
    return sorted(actions.tolist())


# --- epochs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 5, 16, 39, 40, 100])
@pytest.mark.parametrize("kind", ["steps", "sequences"])
def test_every_step_is_used_once_before_any_is_used_again(kind: str, batch_size: int) -> None:
    feed = StepFeed(numbered(LENGTHS), seed=0) if kind == "steps" else sequences(4)
    total = sum(LENGTHS)
    for _ in range(3):
        epoch: list[int] = []
        while len(epoch) < total:
            epoch += learned(feed.next(batch_size))
        assert sorted(epoch) == list(range(total))


def test_a_batch_of_whole_episodes_ends_with_the_one_that_fills_it() -> None:
    feed = sequences(4, lengths=[5] * 6)

    assert [len(learned(feed.next(10))) for _ in range(3)] == [10, 10, 10]
    assert [len(learned(feed.next(11))) for _ in range(2)] == [15, 15]
    assert [len(learned(feed.next(20))) for _ in range(4)] == [20, 10, 20, 10]


# --- burn-in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("burn_in", [1, 2, 6, 7])
def test_with_a_burn_in_every_step_is_still_learned_from_once_an_epoch(burn_in: int) -> None:
    batch = sequences(8, burn_in).next(sum(LENGTHS))

    assert learned(batch) == list(range(sum(LENGTHS)))
    assert batch["loss_mask"].any(axis=1).all(), "a sequence without a step that counts"


@pytest.mark.parametrize("burn_in", [1, 6])
def test_what_is_behind_a_burn_in_has_that_many_steps_before_it_unless_its_episode_begins(
    burn_in: int,
) -> None:
    batch = sequences(8, burn_in).next(sum(LENGTHS))
    for actions, mask, counts, first in zip(
        batch["actions"], batch["mask"], batch["loss_mask"], batch["is_first"], strict=True
    ):
        begins = actions[0] in np.cumsum([0, *LENGTHS])
        assert first.tolist() == [begins] + [False] * 7
        assert (counts == (mask & (begins | (np.arange(8) >= burn_in)))).all()
        assert (np.diff(actions[mask]) == 1).all(), "steps of an episode, in order"


def test_episodes_that_are_not_longer_than_the_burn_in_are_learned_from() -> None:
    batch = sequences(8, 5, lengths=[3, 5, 1]).next(100)

    assert learned(batch) == list(range(9))


# --- states -------------------------------------------------------------------------------------


def states_of_acting(module: RLModule, episodes: list[OfflineEpisode]) -> dict[int, Any]:
    """The state before each step, by its number, as a module has it that plays the episode."""
    bridge = Framework("torch").bridge
    found: dict[int, Any] = {}
    for episode in episodes:
        state = map_nest(lambda leaf: leaf[None], module.get_initial_state())
        for number, obs in zip(episode.actions.tolist(), episode.obs, strict=False):
            found[number] = state
            batch = bridge.to_tensors({"obs": obs[None, None], "state_in": state}, module.device)
            state = bridge.to_numpy(bridge.call(module, "forward_inference", batch)["state_out"])
    return found


@pytest.mark.parametrize("burn_in", [0, 2])
@pytest.mark.parametrize("take", ["next", "first"])
def test_every_sequence_begins_in_the_state_that_acting_has_there(burn_in: int, take: str) -> None:
    module = memory(4, burn_in)
    feed = SequenceFeed(numbered(LENGTHS), module, Framework("torch").bridge, seed=0)
    expected = states_of_acting(module, numbered(LENGTHS))

    batch = getattr(feed, take)(sum(LENGTHS))

    assert len(batch["actions"]) > len(LENGTHS), "some begin within an episode"
    for row, actions in enumerate(batch["actions"]):
        state = map_nest(lambda leaf: leaf[None, row], batch["state_in"])  # noqa: B023
        for mine, acting in zip(leaves(state), leaves(expected[int(actions[0])]), strict=True):
            np.testing.assert_allclose(mine, acting, atol=1e-6)


def test_what_is_behind_the_real_steps_of_a_sequence_is_a_copy_of_its_first() -> None:
    batch = sequences(4).next(sum(LENGTHS))
    steps = stack_steps(numbered(LENGTHS))

    assert not batch["mask"].all()
    for obs, actions, mask in zip(batch["obs"], batch["actions"], batch["mask"], strict=True):
        numbers = np.where(mask, actions[0] + np.arange(4), actions[0])
        assert actions.tolist() == numbers.tolist()
        np.testing.assert_array_equal(obs, steps["obs"][numbers])


# --- a place in the epoch -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["steps", "sequences"])
def test_a_feed_goes_on_from_a_saved_place_and_refuses_one_that_it_has_not(kind: str) -> None:
    def make() -> Any:
        return StepFeed(numbered(LENGTHS), seed=0) if kind == "steps" else sequences(4)

    before = make()
    for _ in range(3):
        before.next(11)
    after = make()
    after.set_state(before.get_state())

    for _ in range(6):
        assert after.next(11)["actions"].tolist() == before.next(11)["actions"].tolist()
    with pytest.raises(ValueError, match="but the state is at 40"):
        after.set_state({**before.get_state(), "next": 40})
