"""The learning matrix: what each algorithm must learn of each feature, within how many steps.

Every task is tiny and its best and blind returns are known exactly (`rlmodule_algos.testing`). A cell is
passed when greedy episodes reach the threshold before the cap, in a time that a machine with two free
cores keeps. Tests ask for the score alone; the seconds are for the command to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np

from rlmodule_algos import APPOConfig, BCConfig, ImpalaConfig, PPOConfig
from rlmodule_algos.actor_learner import ActorLearnerConfig
from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.testing import (
    Catch,
    CrossedAgents,
    GatedLeaves,
    RepeatPrevious,
    episodes,
    multi_agent_episodes,
)

Evaluation: TypeAlias = dict[str, Any]
AGENTS = ("a0", "a1", "a2")
SECONDS = {"torch": 120.0, "tf": 360.0}


@dataclass(frozen=True)
class Task:
    """Where something is learned, and how greedy episodes are scored."""

    env: Any
    env_config: dict[str, Any]
    score: Callable[[Evaluation], float]
    num_episodes: int = 200  # of one evaluation


@dataclass(frozen=True)
class Cell:
    """One algorithm on one feature."""

    algorithm: str
    feature: str
    task: Task
    threshold: float
    max_steps: int
    config: Callable[[], AlgorithmConfig]

    @property
    def name(self) -> str:
        """Such as `ppo-lstm`."""
        return f"{self.algorithm}-{self.feature}"


@dataclass(frozen=True)
class Outcome:
    """What one run of a cell gave."""

    score: float
    steps: int
    seconds: float  # of everything, building and evaluating included
    reached: bool  # the threshold, within the cap
    in_time: bool

    @property
    def passed(self) -> bool:
        """Whether the cell is as the matrix wants it."""
        return self.reached and self.in_time


def run_cell(cell: Cell, framework: str, seed: int) -> Outcome:
    """Train until greedy episodes reach the threshold, or the cap."""
    begin = perf_counter()
    score = -np.inf
    with build(cell, framework, seed) as algorithm:
        while score < cell.threshold and algorithm.env_steps < cell.max_steps:
            result = algorithm.train()
            if promising(result, cell) or algorithm.env_steps >= cell.max_steps:
                score = evaluate(algorithm, cell.task)
        steps = algorithm.env_steps
    seconds = perf_counter() - begin
    return Outcome(score, steps, seconds, score >= cell.threshold, seconds <= SECONDS[framework])


def build(cell: Cell, framework: str, seed: int) -> Algorithm[Any]:
    """Return the algorithm of a cell, ready to train."""
    config = cell.config().environment(cell.task.env, env_config=cell.task.env_config)
    return config.framework(framework).debugging(seed=seed).build()


def evaluate(algorithm: Algorithm[Any], task: Task) -> float:
    """Return the score of greedy episodes."""
    return task.score(algorithm.evaluate(task.num_episodes)["evaluation"])


def promising(result: dict[str, Any], cell: Cell) -> bool:
    """Whether a greedy evaluation may be worth its time: always where nothing is sampled."""
    sampled = result["env_runners"]
    if not sampled["num_episodes_lifetime"]:
        return not sampled["num_env_steps_sampled_lifetime"]
    # exploring costs some of the return
    return cell.task.score(sampled) >= cell.threshold - 0.25 * abs(cell.threshold)


def mean_return(scale: float) -> Callable[[Evaluation], float]:
    """Score: the mean return over what is best."""
    return lambda evaluation: float(evaluation["episode_return_mean"]) / scale


def worst_agent(evaluation: Evaluation) -> float:
    """Score of the crossed agents: that of the agent who does worst."""
    returns = evaluation["module_episode_return_mean"]
    return float(min(returns.get(agent, 0.0) / CrossedAgents.scored_steps[agent] for agent in AGENTS))


CARTPOLE = Task("CartPole-v1", {}, mean_return(1.0), num_episodes=20)
CATCH = Task(Catch, {"num_envs": 32}, mean_return(1.0))
REPEAT = Task(RepeatPrevious, {"num_envs": 32}, mean_return(float(RepeatPrevious.scored_steps)))
GATED = Task(GatedLeaves, {"num_envs": 32}, mean_return(float(GatedLeaves.scored_steps)))
CROSSED = Task(CrossedAgents, {}, worst_agent)

SMALL_CNN: dict[str, Any] = {"conv_filters": [[16, 3, 1], [32, 3, 2]], "encoder_latent_dim": 64}
SMALL_LSTM: dict[str, Any] = {
    "fcnet_hiddens": [64],
    "use_lstm": True,
    "lstm_cell_size": 64,
    "max_seq_len": 20,
}
WIDE: dict[str, Any] = {"fcnet_hiddens": [128, 128]}


def ppo(**training: Any) -> Callable[[], AlgorithmConfig]:
    """PPO on the small tasks: 40 steps of 32 environments, which cut episodes in the middle."""
    settings = {"train_batch_size": 1280, "minibatch_size": 320, "num_epochs": 8, "lr": 2e-3, **training}
    return lambda: PPOConfig().training(**settings)


def ppo_crossed() -> AlgorithmConfig:
    """A module for each agent."""
    config = PPOConfig().env_runners(num_envs_per_env_runner=16).multi_agent(policy_mapping_fn=same_name)
    return config.training(
        train_batch_size=512,
        minibatch_size=128,
        num_epochs=6,
        lr=2e-3,
        gamma=0.5,
        model={"fcnet_hiddens": [32]},
    )


def same_name(agent: str) -> str:
    """A module for each agent, of its name."""
    return agent


def lagging(
    kind: type[ActorLearnerConfig], fragment_length: int, **training: Any
) -> Callable[[], AlgorithmConfig]:
    """IMPALA or APPO, whose actors are up to two updates behind."""
    settings = {"train_batch_size": fragment_length * 32, "broadcast_interval": 3, **training}
    return lambda: kind().training(**settings).env_runners(rollout_fragment_length=fragment_length)


def lagging_crossed(kind: type[ActorLearnerConfig]) -> Callable[[], AlgorithmConfig]:
    """The same with a module for each agent."""

    def config() -> AlgorithmConfig:
        made = kind().env_runners(num_envs_per_env_runner=16, rollout_fragment_length=16)
        made.training(
            train_batch_size=256,
            broadcast_interval=3,
            lr=5e-3,
            gamma=0.5,
            model={"fcnet_hiddens": [32]},
        )
        return made.multi_agent(policy_mapping_fn=same_name)

    return config


def lean_and_velocity(obs: Any, starts: Any) -> Any:
    """A reflex that balances CartPole for 493 steps on average: push to where the pole goes."""
    return (obs[:, 2] + obs[:, 3] > 0).astype(np.int64)


def bc(data: Callable[[], Any], **training: Any) -> Callable[[], AlgorithmConfig]:
    """BC on episodes of an expert."""
    settings = {"train_batch_size": 1000, "minibatch_size": 100, "num_epochs": 1, "lr": 2e-3, **training}
    return lambda: BCConfig().training(**settings).offline_data(input_=data())


def bc_crossed() -> AlgorithmConfig:
    """A module for each agent, from episodes of all."""
    crossed = CrossedAgents.make_vector({}, 16)
    assert crossed is not None
    data = multi_agent_episodes(crossed, CrossedAgents.experts(), 400, seed=7)
    config = BCConfig().multi_agent(policy_mapping_fn=same_name).offline_data(input_=data)
    return config.training(train_batch_size=500, minibatch_size=50, lr=5e-3, model={"fcnet_hiddens": [32]})


def recorded(task: Any, num_episodes: int) -> Callable[[], Any]:
    """Episodes of a task's own expert."""

    def play() -> Any:
        made = task({"num_envs": 16})
        return episodes(made, made.expert(), num_episodes, seed=7)

    return play


def cartpole_data() -> Any:
    """20 episodes of the reflex."""
    return episodes(gym.make_vec("CartPole-v1", 10), lean_and_velocity, 20, seed=7)


PPO_CELLS = [
    Cell("ppo", "fc", CARTPOLE, 475.0, 150_000, PPOConfig),  # as it comes
    Cell("ppo", "cnn", CATCH, 0.8, 100_000, ppo(gamma=0.97, lr=1e-3, model=SMALL_CNN)),
    Cell("ppo", "lstm", REPEAT, 0.85, 60_000, ppo(gamma=0.5, model=SMALL_LSTM)),
    Cell("ppo", "complex", GATED, 0.9, 100_000, ppo(gamma=0.0, model=WIDE)),
    Cell("ppo", "marl", CROSSED, 0.9, 60_000, ppo_crossed),
]
BC_CELLS = [
    Cell("bc", "fc", CARTPOLE, 400.0, 200_000, bc(cartpole_data, model={"fcnet_hiddens": [64, 64]})),
    Cell("bc", "cnn", CATCH, 0.9, 200_000, bc(recorded(Catch, 2000), model=SMALL_CNN)),
    Cell("bc", "lstm", REPEAT, 0.95, 200_000, bc(recorded(RepeatPrevious, 200), model=SMALL_LSTM)),
    Cell("bc", "complex", GATED, 0.95, 200_000, bc(recorded(GatedLeaves, 500), model=WIDE)),
    Cell("bc", "marl", CROSSED, 0.95, 100_000, bc_crossed),
]
IMPALA, APPO = ImpalaConfig, APPOConfig
# without so much entropy they settle on one leaf before they have found that `sel` tells which
CURIOUS: dict[str, Any] = {"gamma": 0.0, "entropy_coeff": 0.2, "model": WIDE}
IMPALA_CELLS = [
    Cell("impala", "fc", CARTPOLE, 400.0, 300_000, lagging(IMPALA, 32, train_batch_size=512)),
    Cell(
        "impala",
        "cnn",
        CATCH,
        0.8,
        400_000,
        lagging(IMPALA, 14, gamma=0.97, entropy_coeff=0.03, model=SMALL_CNN),
    ),
    Cell("impala", "lstm", REPEAT, 0.85, 250_000, lagging(IMPALA, 20, gamma=0.5, lr=2e-3, model=SMALL_LSTM)),
    Cell("impala", "complex", GATED, 0.9, 400_000, lagging(IMPALA, 8, lr=2e-3, **CURIOUS)),
    Cell("impala", "marl", CROSSED, 0.9, 150_000, lagging_crossed(IMPALA)),
]
APPO_CELLS = [
    Cell("appo", "fc", CARTPOLE, 400.0, 400_000, lagging(APPO, 32, train_batch_size=512)),
    Cell(
        "appo", "cnn", CATCH, 0.8, 300_000, lagging(APPO, 14, gamma=0.97, entropy_coeff=0.03, model=SMALL_CNN)
    ),
    Cell("appo", "lstm", REPEAT, 0.85, 150_000, lagging(APPO, 20, gamma=0.5, lr=2e-3, model=SMALL_LSTM)),
    Cell("appo", "complex", GATED, 0.9, 300_000, lagging(APPO, 8, **CURIOUS)),
    Cell("appo", "marl", CROSSED, 0.9, 150_000, lagging_crossed(APPO)),
]
CELLS = {cell.name: cell for cell in [*PPO_CELLS, *BC_CELLS, *IMPALA_CELLS, *APPO_CELLS]}
