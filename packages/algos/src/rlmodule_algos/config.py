"""What every algorithm's config has: fluent groups of settings, checked at the call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, Unpack

from rlmodule_algos.envs import EnvSource
from rlmodule_algos.settings import (
    GROUPS,
    CheckpointingSettings,
    ConfigError,
    DebuggingSettings,
    EnvironmentSettings,
    EnvRunnerSettings,
    EvaluationSettings,
    FaultToleranceSettings,
    LearnerSettings,
    MultiAgentSettings,
    ReportingSettings,
    RLModuleSettings,
    Schedule,
    TrainingSettings,
    advice,
    check_settings,
    code_in,
    copied,
    declared_settings,
    frozen,
    plain,
    problems_of_env,
    problems_of_evaluation,
    problems_when_built,
    thawed,
    to_json,
)
from rlmodule_core import MultiAgentRLModuleSpec, SingleAgentRLModuleSpec

if TYPE_CHECKING:
    from rlmodule_algos.algorithm import Algorithm

__all__ = ["AlgorithmConfig", "TrainingSettings"]


class AlgorithmConfig:
    """Settings of an algorithm. Each setter checks what it is given, changes this object and returns it.

    Raises ConfigError at the call for a setting that does not exist or a value that cannot be. A
    subclass declares its hyperparameters in `training_settings`, and their defaults in `__init__`.
    """

    training_settings: ClassVar[type] = TrainingSettings
    hints: ClassVar[Mapping[str, str]] = {}
    """What to say of settings that other algorithms have, beside `RENAMED`."""
    without_effect: ClassVar[Mapping[str, str]] = {}
    """Settings of every config that this algorithm does not look at, and why; they are refused."""

    def __init__(self) -> None:
        self._frozen = False
        self._given: frozenset[str] = frozenset()  # settings that were set, be it to their default
        self.env: EnvSource | None = None
        self.env_config: Mapping[str, Any] = {}
        self.framework_name: str = "torch"
        self.rl_module_spec: SingleAgentRLModuleSpec | MultiAgentRLModuleSpec | None = None
        self.model: Mapping[str, Any] = {}
        self.num_env_runners: int = 0  # in processes of their own, on Ray; 0: one in this process
        self.num_envs_per_env_runner: int = 8
        self.rollout_fragment_length: int | None = None  # steps of each environment; None: from the batch
        self.max_requests_in_flight_per_env_runner: int = 2  # of algorithms that do not wait for runners
        self.ray_address: str | None = None  # None: a Ray of our own, which nobody else can reach
        self.num_learners: int = 0  # in processes of their own, on Ray; 0: this process computes gradients
        self.device: str = "cpu"
        self.policies: Mapping[str, SingleAgentRLModuleSpec | None] | Sequence[str] = ()  # or as mapped
        self.policy_mapping_fn: Callable[[str], str] | None = None  # None: all agents share `default_policy`
        self.policies_to_train: Sequence[str] | None = None  # None: all
        self.evaluation_interval: int | None = None  # iterations; None: only when asked
        self.evaluation_duration: int = 10  # episodes
        self.evaluation_num_env_runners: int = 0  # others than 0 are still to come
        self.checkpoint_interval: int | None = None  # iterations; None: only when asked
        self.checkpoint_dir: str | None = None
        self.restart_failed_env_runners: bool = True
        self.max_num_env_runner_restarts: int = 1000  # of all of them, over the life of the run
        self.max_failures_in_a_row: int = 3  # of one runner, without a minute of work in between
        self.restart_delay_s: float = 0.5  # doubles with every failure in a row
        self.sample_timeout_s: float = 60.0  # for one fragment
        self.start_timeout_s: float = 120.0  # for a runner's environments and modules; doubles likewise
        self.learn_timeout_s: float = 120.0  # for a learner's gradient, in another process
        self.seed: int | None = None

        self.lr: float | Schedule = 3e-4
        self.gamma: float = 0.99
        self.train_batch_size: int = 2048  # env steps an iteration
        self.grad_clip: float | None = 0.5
        self.grad_clip_by: Literal["value", "norm", "global_norm"] = "global_norm"
        self.adam_epsilon: float = 1e-5

    def environment(self, env: EnvSource | None = None, **settings: Unpack[EnvironmentSettings]) -> Self:
        """Say where to act: an id, a class or a callable of one mapping, which is `env_config`."""
        self._set("environment", EnvironmentSettings, settings, problems=problems_of_env(env))
        self.env = self.env if env is None else env
        return self

    def framework(self, framework: str) -> Self:
        """Choose "torch" or "tf" ("tf2" means the same)."""
        self._require_unfrozen("framework")
        if not isinstance(framework, str) or framework not in ("torch", "tf", "tf2"):
            raise ConfigError(f"framework: expected 'torch' or 'tf', got {framework!r}")
        self.framework_name = "tf" if framework == "tf2" else framework
        return self

    def rl_module(self, **settings: Unpack[RLModuleSettings]) -> Self:
        """Bring a module of your own: `rl_module_spec`; its empty fields are filled in."""
        problems = []
        if settings.get("_enable_rl_module_api") is False:
            problems.append("_enable_rl_module_api=False: there is no other stack than RLModules")
        return self._set("rl_module", RLModuleSettings, settings, problems=problems)

    def training(self, **settings: Unpack[TrainingSettings]) -> Self:
        """Set hyperparameters. A schedule is `[[env_step, value], ...]`."""
        return self._set("training", self.training_settings, settings)

    def env_runners(self, **settings: Unpack[EnvRunnerSettings]) -> Self:
        """Say how much is sampled side by side: `num_envs_per_env_runner` in each of `num_env_runners`.

        `rollout_fragment_length`: the steps of each environment that are handed over at once.
        `ray_address`: an existing cluster, as "host:port" or "auto"; see docs/distributed.md.
        """
        return self._set("env_runners", EnvRunnerSettings, settings)

    rollouts = env_runners  # its older name

    def learners(self, **settings: Unpack[LearnerSettings]) -> Self:
        """Say where learning runs: `device`, in the framework's words.

        `num_learners`: how many processes compute gradients, each on its part of a minibatch.
        """
        return self._set("learners", LearnerSettings, settings)

    def multi_agent(self, **settings: Unpack[MultiAgentSettings]) -> Self:
        """Say which modules there are and whose they are.

        `policies`: module ids, or a recipe for each (None: the usual one). `policy_mapping_fn(agent id)` is
        asked once for each agent in each episode. `policies_to_train`: the ids that learn.
        """
        return self._set("multi_agent", MultiAgentSettings, settings)

    def evaluation(self, **settings: Unpack[EvaluationSettings]) -> Self:
        """Evaluate every `evaluation_interval` iterations, for `evaluation_duration` episodes.

        `evaluation_num_env_runners` is 0: evaluation plays in this process, between two iterations.
        """
        problems = problems_of_evaluation(settings.get("evaluation_num_env_runners", 0))
        return self._set("evaluation", EvaluationSettings, settings, problems=problems)

    def checkpointing(self, **settings: Unpack[CheckpointingSettings]) -> Self:
        """Let `train()` save every `checkpoint_interval` iterations into `checkpoint_dir`; all are kept."""
        return self._set("checkpointing", CheckpointingSettings, settings)

    def reporting(self, **settings: Unpack[ReportingSettings]) -> Self:
        """Take no settings as yet: statistics are over the last 100 episodes."""
        return self._set("reporting", ReportingSettings, settings)

    def fault_tolerance(self, **settings: Unpack[FaultToleranceSettings]) -> Self:
        """Say how much failure of env runners in other processes is borne; see docs/distributed.md."""
        return self._set("fault_tolerance", FaultToleranceSettings, settings)

    def debugging(self, **settings: Unpack[DebuggingSettings]) -> Self:
        """Seed everything, or with None nothing."""
        return self._set("debugging", DebuggingSettings, settings)

    # --- as a whole ---------------------------------------------------------------------------

    def copy(self) -> Self:
        """Return an equal config that is not frozen and shares no setting that can change."""
        twin = copy.copy(self)
        vars(twin).update({name: copied(value) for name, value in vars(self).items()}, _frozen=False)
        return twin

    def freeze(self) -> Self:
        """Refuse every further change, nested settings included."""
        vars(self).update({name: frozen(value) for name, value in vars(self).items()}, _frozen=True)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return every setting by name, thawed; classes and functions stay as they are."""
        return {name: thawed(value) for name, value in vars(self).items() if not name.startswith("_")}

    def to_json(self) -> dict[str, Any]:
        """Return every setting as JSON data; a class or function is written as its name only."""
        return {name: to_json(value) for name, value in self.to_dict().items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the config that `to_json` wrote.

        Raises ConfigError that lists what does not fit, and the settings which were classes or
        functions: a name in a file is never imported, so they must be given again.
        """
        config, hints = cls(), cls._declared()
        where = f"{cls.__name__}.from_json"
        if not isinstance(data, Mapping):
            raise ConfigError(f"{where}: expected a mapping, got {type(data).__name__}")
        if different := sorted(map(str, set(data) ^ set(config.to_dict()))):
            raise ConfigError(f"{where}: settings missing or not known: {', '.join(different)}")
        code = [f"{name} ({found})" for name, value in data.items() if (found := code_in(value)) is not None]
        if code:
            raise ConfigError(
                f"{where}: {', '.join(code)} cannot be loaded from a file; pass the config that was used"
            )
        given = frozenset(name for name in data if data[name] != getattr(config, name))
        idle = {name: why for name, why in cls.without_effect.items() if name in given}
        check_settings(where, hints, data, renamed={}, refused=idle)
        vars(config).update({name: plain(value) for name, value in data.items()}, _given=given)
        return config

    def build(self) -> Algorithm[Any]:
        """Make the environments and the module, and return the algorithm, ready to train.

        Raises ConfigError, EnvError, UnsupportedSpaceError or ImportError, before anything runs.
        """
        raise NotImplementedError(f"{type(self).__name__} names no algorithm; use PPOConfig, say")

    def validate(self) -> None:
        """Raise ConfigError for settings that exclude one another."""
        if problems := self._problems():
            raise ConfigError("; ".join(problems))

    def _problems(self) -> list[str]:
        return problems_when_built(vars(self), self._given)

    @property
    def rows_of_a_step(self) -> int:
        """About how many rows an optimizer step takes."""
        return self.train_batch_size

    def __setattr__(self, name: str, value: Any) -> None:
        """Check what is assigned as the setters do."""
        self._require_unfrozen(name)
        if not name.startswith("_"):
            value = plain(value)
            given = name in vars(self)  # a default is nobody's wish
            idle = self.without_effect if given else {}
            where, known = type(self).__name__, self._declared()
            check_settings(where, known, {name: value}, renamed=self._renamed(), refused=idle)
            self._given = self._given.union([name] if given else [])
        super().__setattr__(name, value)

    def _set(
        self, where: str, declared: type, settings: Mapping[str, Any], *, problems: Iterable[str] = ()
    ) -> Self:
        self._require_unfrozen(where)
        values = {name: plain(value) for name, value in settings.items()}
        known, idle = declared_settings(declared), self.without_effect
        check_settings(where, known, values, renamed=self._renamed(), refused=idle, problems=problems)
        vars(self).update({name: value for name, value in values.items() if not name.startswith("_")})
        self._given = self._given.union(values)
        return self

    @classmethod
    def _groups(cls) -> dict[str, type]:
        """The settings of each setter that takes them by name."""
        return {**GROUPS, "training": cls.training_settings}

    @classmethod
    @cache
    def _renamed(cls) -> Mapping[str, str]:
        """What to say of names from elsewhere, and of a setting given to another setter than its own."""
        homes = {
            name: f"a setting of .{group}()"
            for group, declared in cls._groups().items()
            for name in declared_settings(declared)
        }
        return {**homes, **advice(set(cls._declared()) - set(cls.without_effect)), **cls.hints}

    @classmethod
    @cache
    def _declared(cls) -> Mapping[str, Any]:
        """Every attribute that is a setting, with its type."""
        hints: dict[str, Any] = {"env": EnvSource | None, "framework_name": Literal["torch", "tf"]}
        for declared in cls._groups().values():
            hints.update(declared_settings(declared))
        return {name: hint for name, hint in hints.items() if not name.startswith("_")}

    def _require_unfrozen(self, where: str) -> None:
        if vars(self).get("_frozen", False):
            raise ConfigError(
                f"{where}: this config is frozen, as an algorithm uses it; change a copy() of it"
            )
