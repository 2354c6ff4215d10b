"""What every algorithm's config has: fluent groups of settings, checked at the call."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypedDict, Unpack

from rlmodule_algos.envs import EnvSource
from rlmodule_algos.settings import (
    ConfigError,
    Fraction,
    PositiveFloat,
    PositiveInt,
    Schedule,
    check_settings,
)
from rlmodule_core import MultiAgentRLModuleSpec, SingleAgentRLModuleSpec

if TYPE_CHECKING:
    from rlmodule_algos.algorithm import Algorithm

RENAMED = {
    "num_sgd_iter": "'num_epochs'",
    "sgd_minibatch_size": "'minibatch_size'",
    "num_rollout_workers": "'num_env_runners'",
    "num_workers": "'num_env_runners'",
    "num_envs_per_worker": "'num_envs_per_env_runner'",
    "lambda": "'lambda_'",
    "use_critic": "gone: every actor-critic algorithm has a critic",
    "custom_model": "not a setting; your module goes to .rl_module(rl_module_spec=...)",
}
"""Names of other versions, and what to say instead."""


class EnvironmentSettings(TypedDict, total=False):
    """Settings of `.environment()` beside `env`."""

    env_config: Mapping[str, Any]


class RLModuleSettings(TypedDict, total=False):
    """Settings of `.rl_module()`."""

    rl_module_spec: SingleAgentRLModuleSpec | MultiAgentRLModuleSpec
    _enable_rl_module_api: bool


class TrainingSettings(TypedDict, total=False):
    """Settings of `.training()` that every algorithm has."""

    model: Mapping[str, Any]
    lr: PositiveFloat | Schedule
    gamma: Fraction
    train_batch_size: PositiveInt
    minibatch_size: PositiveInt
    num_epochs: PositiveInt
    grad_clip: PositiveFloat | None
    grad_clip_by: Literal["value", "norm", "global_norm"]
    adam_epsilon: PositiveFloat


class EnvRunnerSettings(TypedDict, total=False):
    """Settings of `.env_runners()`."""

    num_envs_per_env_runner: PositiveInt


class LearnerSettings(TypedDict, total=False):
    """Settings of `.learners()`."""

    device: str


class EvaluationSettings(TypedDict, total=False):
    """Settings of `.evaluation()`."""

    evaluation_interval: PositiveInt | None
    evaluation_duration: PositiveInt


class DebuggingSettings(TypedDict, total=False):
    """Settings of `.debugging()`."""

    seed: int | None


class AlgorithmConfig:
    """Settings of an algorithm. Each setter checks what it is given, changes this object and returns it.

    Raises ConfigError at the call for a setting that does not exist or a value that cannot be.
    """

    training_settings: ClassVar[type] = TrainingSettings

    def __init__(self) -> None:
        self._frozen = False
        self.env: EnvSource | None = None
        self.env_config: Mapping[str, Any] = {}
        self.framework_name: str = "torch"
        self.rl_module_spec: SingleAgentRLModuleSpec | MultiAgentRLModuleSpec | None = None
        self.model: Mapping[str, Any] = {}
        self.num_envs_per_env_runner: int = 8
        self.device: str = "cpu"
        self.evaluation_interval: int | None = None  # iterations; None: only when asked
        self.evaluation_duration: int = 10  # episodes
        self.seed: int | None = None

        self.lr: float | Schedule = 3e-4
        self.gamma: float = 0.99
        self.train_batch_size: int = 2048  # env steps an iteration
        self.minibatch_size: int = 128  # rows
        self.num_epochs: int = 10
        self.grad_clip: float | None = 0.5
        self.grad_clip_by: Literal["value", "norm", "global_norm"] = "global_norm"
        self.adam_epsilon: float = 1e-5

    def environment(self, env: EnvSource | None = None, **settings: Unpack[EnvironmentSettings]) -> Self:
        """Say where to act: an id, a class or a callable of one mapping, which is `env_config`."""
        if env is not None and not isinstance(env, str) and not callable(env):
            raise ConfigError(
                f"environment: expected an id, a class or a callable, got {type(env).__name__}; to use an "
                "environment that you have made, pass a function that makes it"
            )
        self._set("environment", EnvironmentSettings, settings)
        self.env = self.env if env is None else env
        return self

    def framework(self, framework: str) -> Self:
        """Choose "torch" or "tf" ("tf2" means the same)."""
        self._require_unfrozen("framework")
        if framework not in ("torch", "tf", "tf2"):
            raise ConfigError(f"framework: expected 'torch' or 'tf', got {framework!r}")
        self.framework_name = "tf" if framework == "tf2" else framework
        return self

    def rl_module(self, **settings: Unpack[RLModuleSettings]) -> Self:
        """Bring a module of your own: `rl_module_spec`; its empty fields are filled in."""
        if settings.pop("_enable_rl_module_api", True) is False:
            raise ConfigError(
                "rl_module: _enable_rl_module_api=False: there is no other stack than RLModules"
            )
        return self._set("rl_module", RLModuleSettings, settings)

    def training(self, **settings: Unpack[TrainingSettings]) -> Self:
        """Set hyperparameters. A schedule is `[[env_step, value], ...]`."""
        return self._set("training", self.training_settings, settings)

    def env_runners(self, **settings: Unpack[EnvRunnerSettings]) -> Self:
        """Say how much is sampled side by side."""
        return self._set("env_runners", EnvRunnerSettings, settings)

    rollouts = env_runners  # its older name

    def learners(self, **settings: Unpack[LearnerSettings]) -> Self:
        """Say where learning runs: `device`, in the framework's words."""
        return self._set("learners", LearnerSettings, settings)

    def evaluation(self, **settings: Unpack[EvaluationSettings]) -> Self:
        """Evaluate every `evaluation_interval` iterations, for `evaluation_duration` episodes."""
        return self._set("evaluation", EvaluationSettings, settings)

    def debugging(self, **settings: Unpack[DebuggingSettings]) -> Self:
        """Seed everything, or with None nothing."""
        return self._set("debugging", DebuggingSettings, settings)

    # --- as a whole ---------------------------------------------------------------------------

    def copy(self) -> Self:
        """Return an equal config that is not frozen and shares nothing that can change."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            setattr(twin, name, copy.deepcopy(value) if isinstance(value, (dict, list)) else value)
        twin._frozen = False
        return twin

    def freeze(self) -> Self:
        """Refuse every further change, nested settings included."""
        for name, value in vars(self).items():
            setattr(self, name, _frozen(value))
        self._frozen = True
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return every setting by name, thawed; classes and functions stay as they are."""
        return {name: _thawed(value) for name, value in vars(self).items() if not name.startswith("_")}

    def to_json(self) -> dict[str, Any]:
        """Return every setting as JSON data; a class or function is written as its name only."""
        return {name: _to_json(value) for name, value in self.to_dict().items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the config that `to_json` wrote.

        Raises ConfigError that lists the settings which were classes or functions: a name in a file
        is never imported, so they must be given again.
        """
        config = cls()
        unknown = sorted(set(data) ^ set(config.to_dict()))
        if unknown:
            raise ConfigError(
                f"{cls.__name__}.from_json: settings missing or not known: {', '.join(unknown)}"
            )
        code = [f"{name} ({value.get(CODE, 'holds one')})" for name, value in data.items() if _is_code(value)]
        if code:
            raise ConfigError(
                f"{cls.__name__}.from_json: {', '.join(code)} cannot be loaded from a file; "
                "pass the config that was used"
            )
        vars(config).update(data)
        return config

    def build(self) -> Algorithm[Any]:
        """Make the environments and the module, and return the algorithm, ready to train.

        Raises ConfigError, EnvError, UnsupportedSpaceError or ImportError, before anything runs.
        """
        raise NotImplementedError(f"{type(self).__name__} names no algorithm; use PPOConfig, say")

    def validate(self) -> None:
        """Raise ConfigError for settings that exclude one another."""
        if self.env is None:
            raise ConfigError("build: no environment; call .environment('CartPole-v1'), say, first")
        if self.minibatch_size > self.train_batch_size:
            raise ConfigError(
                f"training: minibatch_size ({self.minibatch_size}) is larger than "
                f"train_batch_size ({self.train_batch_size})"
            )

    def _set(self, where: str, declared: type, settings: Mapping[str, Any]) -> Self:
        self._require_unfrozen(where)
        check_settings(where, declared, settings, renamed=RENAMED)
        for name, value in settings.items():
            setattr(self, name, value)
        return self

    def _require_unfrozen(self, where: str) -> None:
        if self._frozen:
            raise ConfigError(
                f"{where}: this config is frozen, as an algorithm uses it; change a copy() of it"
            )


CODE = "python object"  # key of what stands for a class or function in JSON


def _to_json(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _to_json(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(child) for child in value]
    return {CODE: getattr(value, "__qualname__", type(value).__qualname__)}


def _is_code(value: Any) -> bool:
    if isinstance(value, Mapping):
        return CODE in value or any(map(_is_code, value.values()))
    return isinstance(value, list) and any(map(_is_code, value))


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(child) for key, child in value.items()})
    return tuple(_frozen(child) for child in value) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(child) for key, child in value.items()}
    return [_thawed(child) for child in value] if isinstance(value, (list, tuple)) else value
