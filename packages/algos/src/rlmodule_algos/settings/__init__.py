"""Settings that are checked where they are given: names, types and ranges, all problems at once."""

from rlmodule_algos.settings.checking import (
    ConfigError,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Range,
    Schedule,
    check_settings,
    declared_settings,
    mismatch,
)
from rlmodule_algos.settings.data import FrozenList, code_in, frozen, plain, thawed, to_json
from rlmodule_algos.settings.groups import (
    RENAMED,
    DebuggingSettings,
    EnvironmentSettings,
    EnvRunnerSettings,
    EvaluationSettings,
    LearnerSettings,
    MultiAgentSettings,
    RLModuleSettings,
    TrainingSettings,
)

__all__ = [
    "RENAMED",
    "ConfigError",
    "DebuggingSettings",
    "EnvRunnerSettings",
    "EnvironmentSettings",
    "EvaluationSettings",
    "Fraction",
    "FrozenList",
    "LearnerSettings",
    "MultiAgentSettings",
    "NonNegativeFloat",
    "PositiveFloat",
    "PositiveInt",
    "RLModuleSettings",
    "Range",
    "Schedule",
    "TrainingSettings",
    "check_settings",
    "code_in",
    "declared_settings",
    "frozen",
    "mismatch",
    "plain",
    "thawed",
    "to_json",
]
