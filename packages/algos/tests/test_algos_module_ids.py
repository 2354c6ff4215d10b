"""Which modules there may be, and whose: ids that can be saved, mappings that answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlmodule_algos import ConfigError, MultiAgentCartPole, PPOConfig

WRONG_IDS: dict[Any, str] = {
    "team/red": "expected a name without '/'",
    "": "expected a name, got an empty one",
    "__all__": "this name means something else",
    "__own__": "this name means something else",
    3: "expected a str, got int",
    None: "expected a str, got NoneType",
}


def config(**multi_agent: Any) -> PPOConfig:
    chosen = PPOConfig().environment(MultiAgentCartPole).debugging(seed=0).multi_agent(**multi_agent)
    return chosen.training(model={"fcnet_hiddens": [8]}, train_batch_size=64, minibatch_size=64)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(("wrong", "said"), WRONG_IDS.items())
def test_a_mapping_to_what_is_no_id_is_refused_when_building(wrong: Any, said: str) -> None:
    text = refusal(config(policy_mapping_fn=lambda agent: wrong).build)
    assert text.startswith("multi_agent: policy_mapping_fn('agent_0') returned ")
    assert said in text
    assert len(text) < 200


@pytest.mark.parametrize(("wrong", "said"), list(WRONG_IDS.items())[:5])
def test_policies_and_modules_that_join_need_ids_that_can_be_saved(wrong: Any, said: str) -> None:
    text = refusal(config(policies=[wrong, "main"], policy_mapping_fn=lambda agent: "main").build)
    assert f"policies: module id {wrong!r}: {said}" in text
    with config().build() as algorithm:
        text = refusal(lambda: algorithm.add_module(wrong))
        assert f"add_module: module id {wrong!r}: {said}" in text
        assert set(algorithm.modules) == {"default_policy"}


def test_every_other_id_is_trained_saved_and_restored(tmp_path: Path) -> None:
    ids = {"agent_0": "a.b c", "agent_1": "größe:1\\2"}
    with (
        config(policy_mapping_fn=ids.__getitem__).build() as one,
        config(policy_mapping_fn=ids.__getitem__).build() as other,
    ):
        one.train()
        other.restore(one.save(tmp_path))
        assert set(other.train()["learners"]) == set(ids.values())


def rllibs(agent_id: str, episode: object, **kwargs: object) -> str:
    return "main"


def missing(agent: str) -> str:
    return {"agent_0": "main"}[agent]


def test_a_mapping_of_rllibs_signature_is_told_what_is_expected() -> None:
    given: Any = rllibs
    text = refusal(config(policy_mapping_fn=given).build)
    assert "expected a function of the agent id alone, got one of (agent_id: " in text
    assert "lambda agent: fn(agent, None)" in text
    with config(policy_mapping_fn=lambda agent, *args, **kwargs: "main").build() as algorithm:
        assert set(algorithm.modules) == {"main"}


def test_a_mapping_that_fails_is_told_for_which_agent_and_how() -> None:
    with pytest.raises(
        ConfigError, match=r"policy_mapping_fn\('agent_1'\) raised KeyError: 'agent_1'"
    ) as error:
        config(policy_mapping_fn=missing).build()
    assert isinstance(error.value.__cause__, KeyError)


def test_a_mapping_that_fails_later_is_told_alike() -> None:
    answer: dict[str, Any] = {"agent_0": "main", "agent_1": "main"}
    with config(policy_mapping_fn=lambda agent: answer[agent]).build() as algorithm:
        answer["agent_1"] = 7
        assert "policy_mapping_fn('agent_1') returned 7" in refusal(algorithm.train)


def test_with_one_agent_no_module_may_come_or_go() -> None:
    chosen = PPOConfig().environment("CartPole-v1").training(model={"fcnet_hiddens": [8]})
    with chosen.training(train_batch_size=64, minibatch_size=64).build() as algorithm:
        for call in (
            lambda: algorithm.add_module("other"),
            lambda: algorithm.remove_module("default_policy"),
        ):
            assert "'CartPole-v1' has one agent, for whom the module 'default_policy'" in refusal(call)
        assert set(algorithm.train()["learners"]) == {"default_policy"}
        assert algorithm.evaluate(1)["evaluation"]["num_episodes"] == 1
