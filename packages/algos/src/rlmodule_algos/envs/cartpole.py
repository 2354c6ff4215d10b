"""CartPole for several agents, each with a cart of its own, and the vectorised form of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv
from gymnasium.vector import AutoresetMode

from rlmodule_algos.envs.errors import EnvError
from rlmodule_algos.envs.multi_agent import ALL_AGENTS, Answer, MultiAgentEnv
from rlmodule_algos.envs.multi_agent_vector import BoolArray, MultiAgentStep, MultiAgentVectorEnv
from rlmodule_core.nest import Nest

MAX_STEPS = 500


class ManualCartPoles(CartPoleVectorEnv):
    """gymnasium's vectorised CartPole, but the caller resets: autoreset mode DISABLED."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs, max_episode_steps=MAX_STEPS)
        self.metadata = {**self.metadata, "autoreset_mode": AutoresetMode.DISABLED}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Start episodes in the rows of `options["reset_mask"]`, or in all."""
        mask = (options or {}).get("reset_mask")
        if mask is None or self.state is None:
            return super().reset(seed=seed)
        if seed is not None:
            self._np_random = np.random.default_rng(seed)
        self.place(np.flatnonzero(mask), self.np_random.uniform(self.low, self.high, (4, np.sum(mask))))
        return self.observe(), {}

    def observe(self) -> npt.NDArray[np.float32]:
        """Return what is seen now, `[num_envs, 4]`."""
        state: npt.NDArray[np.float64] = self._states()
        return state.T.astype(np.float32)

    def _states(self) -> Any:
        return self.state  # [4, num_envs], which gymnasium declares to be None

    def place(self, rows: npt.NDArray[np.int64], states: npt.NDArray[np.float64]) -> None:
        """Begin episodes in these rows at these states, `[4, K]`."""
        self._states()[:, rows] = states
        self.steps[rows] = 0

    def step(
        self, action: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], BoolArray, BoolArray, dict[str, Any]]:
        """Step all; what ended before goes on falling until it is reset."""
        self.prev_done[:] = False  # these would be reset now
        return super().step(action)


class MultiAgentCartPole(MultiAgentEnv):
    """Agents `agent_0`, `agent_1`, ... balance a pole each; whose pole falls leaves the episode.

    After 500 steps all who are left are truncated. `env_config` has `num_agents`, 2 unless given.
    """

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        self.possible_agents = _agents(env_config)
        self._carts: dict[str, gym.Env[Any, Any]] = {agent: CartPoleEnv() for agent in self.possible_agents}
        self.observation_spaces = {agent: cart.observation_space for agent, cart in self._carts.items()}
        self.action_spaces = {agent: cart.action_space for agent, cart in self._carts.items()}
        self._rng = np.random.default_rng()
        self._alive: list[str] = []
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Nest], dict[str, Any]]:
        """Set up every pole anew."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        for cart in self._carts.values():
            cart.np_random = self._rng
        self._alive, self._steps = list(self.possible_agents), 0
        return {agent: cart.reset()[0] for agent, cart in self._carts.items()}, {}

    def step(self, actions: Mapping[str, Nest]) -> Answer:
        """Push the carts of those whose pole stands."""
        self._steps += 1
        out_of_time = self._steps >= MAX_STEPS
        obs: dict[str, Nest] = {}
        rewards: dict[str, float] = {}
        fell: dict[str, bool] = {}
        for agent in self._alive:
            obs[agent], reward, fell[agent], _, _ = self._carts[agent].step(actions[agent])
            rewards[agent] = float(reward)
        truncated = dict.fromkeys(self._alive, out_of_time)
        self._alive = [] if out_of_time else [agent for agent in self._alive if not fell[agent]]
        over = not self._alive
        terminateds = {**fell, ALL_AGENTS: over and not out_of_time}
        return obs, rewards, terminateds, {**truncated, ALL_AGENTS: over and out_of_time}, {}

    @classmethod
    def make_vector(cls, env_config: Mapping[str, Any], num_envs: int) -> MultiAgentVectorEnv | None:
        """Return the form that steps all carts of all environments at once; subclasses have none."""
        return _VectorCartPole(env_config, num_envs) if cls is MultiAgentCartPole else None


class _VectorCartPole(MultiAgentVectorEnv):
    """Equal to copies of MultiAgentCartPole in every number that the same seeds and actions give."""

    def __init__(self, env_config: Mapping[str, Any], num_envs: int) -> None:
        self.num_envs = num_envs
        self.possible_agents = tuple(_agents(env_config))
        self._shape = (len(self.possible_agents), num_envs)
        self._carts = ManualCartPoles(len(self.possible_agents) * num_envs)  # those of an agent side by side
        self.observation_spaces = dict.fromkeys(self.possible_agents, self._carts.single_observation_space)
        self.action_spaces = dict.fromkeys(self.possible_agents, self._carts.single_action_space)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._columns = np.arange(self._shape[0] * num_envs).reshape(self._shape)  # of the carts
        self._alive = np.zeros(self._shape, np.bool_)
        self._carts.reset()

    def reset(self, *, seed: int | None = None, rows: BoolArray | None = None) -> MultiAgentStep:
        """Set up the poles of these rows anew, each row from its own generator."""
        chosen = np.ones(self.num_envs, np.bool_) if rows is None else rows
        for row in np.flatnonzero(chosen).tolist():
            if seed is not None:
                self._rngs[row] = np.random.default_rng(seed + row)
            states = self._rngs[row].uniform(self._carts.low, self._carts.high, (self._shape[0], 4))
            self._carts.place(self._columns[:, row], states.T)
        self._alive = self._alive | chosen
        shown = np.broadcast_to(chosen, self._shape).copy()
        none = np.zeros((3, *self._shape), np.bool_)
        over = np.zeros(self.num_envs, np.bool_)
        return self._told(self._carts.observe(), shown, none[0].astype(np.float32), (none[1], none[2]), over)

    def step(self, actions: Mapping[str, Nest], acting: Mapping[str, BoolArray]) -> MultiAgentStep:
        """Push the carts of those whose pole stands; exactly these must be acting."""
        alive = self._alive
        _require_acting(alive, acting, self.possible_agents)
        nothing = np.zeros(self.num_envs, np.int64)
        pushes = np.array([actions.get(agent, nothing) for agent in self.possible_agents]) * alive
        obs, rewards, fell, late, _ = self._carts.step(pushes.reshape(-1))
        terminated, truncated = (flags.reshape(self._shape) & alive for flags in (fell, late))
        self._alive = alive & ~(terminated | truncated)
        over = ~np.logical_or.reduce(self._alive)
        paid = rewards.reshape(self._shape) * alive
        return self._told(obs, alive, paid, (terminated, truncated), over)

    def _told(
        self,
        obs: Nest,
        has_obs: BoolArray,
        rewards: Nest,
        flags: tuple[BoolArray, BoolArray],
        over: BoolArray,
    ) -> MultiAgentStep:
        """Split `[agents, num_envs]` by agent."""
        agents = self.possible_agents
        return MultiAgentStep(
            obs=dict(zip(agents, obs.reshape(*self._shape, 4), strict=True)),
            has_obs=dict(zip(agents, has_obs, strict=True)),
            rewards=dict(zip(agents, rewards, strict=True)),
            terminated=dict(zip(agents, flags[0], strict=True)),
            truncated=dict(zip(agents, flags[1], strict=True)),
            over=over,
        )

    def close(self) -> None:
        """Close the carts."""
        self._carts.close()


def _require_acting(alive: BoolArray, acting: Mapping[str, BoolArray], agents: tuple[str, ...]) -> None:
    going = np.logical_or.reduce(alive)
    if not going.all():
        over = np.flatnonzero(~going).tolist()
        raise ValueError(f"MultiAgentCartPole: the episodes in the rows {over} are over; reset them first")
    given = np.array([acting[agent] for agent in agents])
    if not (given == alive).all():
        number = int((given != alive).any(axis=1).argmax())
        rows, found = np.flatnonzero(alive[number]).tolist(), np.flatnonzero(given[number]).tolist()
        raise ValueError(f"MultiAgentCartPole: {agents[number]} must act in the rows {rows}, got {found}")


def _agents(env_config: Mapping[str, Any]) -> list[str]:
    for key in env_config.keys() - {"num_agents"}:
        raise EnvError(f"MultiAgentCartPole: unknown option {key!r} in env_config; it has 'num_agents'")
    num_agents = env_config.get("num_agents", 2)
    if not isinstance(num_agents, int) or isinstance(num_agents, bool) or num_agents < 1:
        raise EnvError(f"MultiAgentCartPole: num_agents: expected a positive int, got {num_agents!r}")
    return [f"agent_{number}" for number in range(num_agents)]
