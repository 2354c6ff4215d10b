"""CartPole for several agents, each with a cart of its own, and the vectorised form of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv
from gymnasium.vector import AutoresetMode

from rlmodule_algos.envs.agent_groups import Columns
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
        return state.T.astype(np.float32, order="C")

    def _states(self) -> Any:
        return self.state  # [4, num_envs], which gymnasium declares to be None

    def place(self, rows: npt.NDArray[np.int64], states: npt.NDArray[np.float64]) -> None:
        """Begin episodes in these rows at these states, `[4, K]`."""
        self._states()[:, rows] = states
        self.steps[rows] = 0

    def step(
        self, action: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], BoolArray, BoolArray, dict[str, Any]]:
        """Step all; what ended before goes on falling until it is reset.

        The numbers are those of gymnasium to the last bit, in half its time. ValueError for an action that
        is neither 0 nor 1.
        """
        if np.count_nonzero((action != 0) & (action != 1)):
            raise ValueError(f"CartPole: expected the actions 0 and 1, got {np.unique(action).tolist()}")
        state = self._states()
        _x, speed, angle, spin = state
        sine, cosine = np.sin(angle), np.cos(angle)
        force = action * (2 * self.force_mag) - self.force_mag
        push = (force + self.polemass_length * np.square(spin) * sine) / self.total_mass
        inertia = self.length * (4.0 / 3.0 - self.masspole * np.square(cosine) / self.total_mass)
        spun = (self.gravity * sine - cosine * push) / inertia
        sped = push - self.polemass_length * spun * cosine / self.total_mass
        self.state = state = state + self.tau * np.array((speed, sped, spin, spun))
        terminated = (np.abs(state[0]) > self.x_threshold) | (np.abs(state[2]) > self.theta_threshold_radians)
        self.steps += 1
        truncated = self.steps >= self.max_episode_steps
        return self.observe(), np.ones(self.num_envs, np.float32), terminated, truncated, {}


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
        self._alive = np.zeros(self._shape, np.bool_)
        self._over = np.ones(num_envs, np.bool_)
        self._numbers = np.arange(self._shape[0] * num_envs).reshape(self._shape).T  # [n, A] of the carts
        self._carts.reset()

    def reset(self, *, seed: int | None = None, rows: BoolArray | None = None) -> MultiAgentStep:
        """Set up the poles of these rows anew, each row from its own generator."""
        envs = np.arange(self.num_envs) if rows is None else np.flatnonzero(rows)
        shown, terminated, truncated = np.zeros((3, *self._shape), np.bool_)
        shown[:, envs] = True
        drawn = np.empty((len(envs), self._shape[0], 4))
        for at, env in enumerate(envs.tolist()):
            if seed is not None:
                self._rngs[env] = np.random.default_rng(seed + env)
            self._rngs[env].random(out=drawn[at])
        low, high = self._carts.low, self._carts.high
        states = low + (high - low) * drawn.reshape(-1, 4)  # as Generator.uniform does
        self._carts.place(self._numbers[envs].ravel(), states.T)
        self._alive = self._alive | shown
        self._over = self._over.copy()
        self._over[envs] = False
        unpaid, over = np.zeros(self._shape, np.float32), np.zeros(self.num_envs, np.bool_)
        return MultiAgentStep([self._carts.observe()], shown, unpaid, terminated, truncated, over)

    def step(self, actions: Columns, acting: BoolArray) -> MultiAgentStep:
        """Push the carts of those whose pole stands; exactly these must be acting."""
        alive = self._alive
        self._require_acting(acting)
        pushes = np.zeros(self._shape, np.int64) if actions[0] is None else actions[0].reshape(self._shape)
        obs, _paid, fell, late, _ = self._carts.step((pushes * alive).ravel())  # 1 a step, also of who fell
        terminated, truncated = fell.reshape(self._shape) & alive, late.reshape(self._shape) & alive
        self._alive = alive & ~(terminated | truncated)
        over = self._over = ~np.logical_or.reduce(self._alive)
        return MultiAgentStep([obs], alive, alive.astype(np.float32), terminated, truncated, over)

    def _require_acting(self, acting: BoolArray) -> None:
        if np.count_nonzero(self._over):
            over = np.flatnonzero(self._over).tolist()
            raise ValueError(
                f"MultiAgentCartPole: the episodes in the rows {over} are over; reset them first"
            )
        wrong = acting != self._alive
        if np.count_nonzero(wrong):  # several times faster than any()
            number = int(wrong.any(axis=1).argmax())
            rows, found = (np.flatnonzero(which[number]).tolist() for which in (self._alive, acting))
            agent = self.possible_agents[number]
            raise ValueError(f"MultiAgentCartPole: {agent} must act in the rows {rows}, got {found}")

    def close(self) -> None:
        """Close the carts."""
        self._carts.close()


def _agents(env_config: Mapping[str, Any]) -> list[str]:
    for key in env_config.keys() - {"num_agents"}:
        raise EnvError(f"MultiAgentCartPole: unknown option {key!r} in env_config; it has 'num_agents'")
    num_agents = env_config.get("num_agents", 2)
    if not isinstance(num_agents, int) or isinstance(num_agents, bool) or num_agents < 1:
        raise EnvError(f"MultiAgentCartPole: num_agents: expected a positive int, got {num_agents!r}")
    return [f"agent_{number}" for number in range(num_agents)]
