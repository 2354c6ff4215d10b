"""What is wrong with settings, beyond their types: with single ones, and with some beside others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

HERE = "the algorithm samples in this process (num_env_runners is 0)"
NO_LEARNERS = "the algorithm computes gradients in this process (num_learners is 0)"
OF_ENV_RUNNERS = {
    "max_requests_in_flight_per_env_runner": "env_runners",
    "restart_failed_env_runners": "fault_tolerance",
    "max_num_env_runner_restarts": "fault_tolerance",
    "restart_delay_s": "fault_tolerance",
    "sample_timeout_s": "fault_tolerance",
}
OF_LEARNERS = {"learn_timeout_s": "fault_tolerance"}
OF_BOTH = {
    "ray_address": "env_runners",
    "start_timeout_s": "fault_tolerance",
    "max_failures_in_a_row": "fault_tolerance",
}
"""Settings about other processes, by the setter that takes them."""
OF_THE_KL_LOSS = ("kl_coeff", "kl_target")
OF_RESTARTS = ("max_num_env_runner_restarts", "restart_delay_s")


def problems_of_env(env: object) -> list[str]:
    """Say what is no source of environments."""
    if env is None or isinstance(env, str) or callable(env):
        return []
    return [
        f"env: expected an id, a class or a callable, got {type(env).__name__}; to use an environment "
        "that you have made, pass a function that makes it"
    ]


def problems_of_evaluation(num_env_runners: object) -> list[str]:
    """Say that evaluation has no env runners of its own."""
    if type(num_env_runners) is not int or num_env_runners <= 0:
        return []  # of which the declared type says the rest
    return [
        f"evaluation_num_env_runners={num_env_runners}: env runners for evaluation are not available yet; "
        "leave it at 0, and evaluation plays in this process, up to 32 environments side by side"
    ]


def problems_when_built(settings: Mapping[str, Any], given: Collection[str]) -> list[str]:
    """Say which settings of a whole config exclude one another, or would do nothing beside others.

    `given` are the names of those that were set, which the others are not asked about.
    """
    problems = []
    if settings["env"] is None:
        problems.append("build: no environment; call .environment('CartPole-v1'), say, first")
    of_evaluation = problems_of_evaluation(settings["evaluation_num_env_runners"])
    problems += [f"evaluation: {problem}" for problem in of_evaluation]
    if settings["checkpoint_interval"] is not None and settings["checkpoint_dir"] is None:
        problems.append("checkpointing: checkpoint_interval needs checkpoint_dir, where to save")
    device = settings["device"]
    if settings["framework_name"] == "torch" and device.lower().startswith("gpu"):
        problems.append(f"learners: device={device!r}: PyTorch has no such device; use 'cuda{device[3:]}'")
    return problems + _without_processes(settings, given) + _switched_off(settings, given)


def _without_processes(settings: Mapping[str, Any], given: Collection[str]) -> list[str]:
    """Say which settings are about processes that there are not."""
    runners, learners = settings["num_env_runners"], settings["num_learners"]
    idle: list[tuple[Mapping[str, str], str]] = []
    if not runners:
        idle.append((OF_ENV_RUNNERS, HERE))
    if not learners:
        idle.append((OF_LEARNERS, NO_LEARNERS))
    if not runners and not learners:
        idle.append((OF_BOTH, f"{HERE}, and {NO_LEARNERS.removeprefix('the algorithm ')}"))
    return [
        f"{group}: {name}={settings[name]!r} would have no effect, as {why}; leave it out"
        for names, why in idle
        for name, group in names.items()
        if name in given and settings[name] is not None
    ]


def _switched_off(settings: Mapping[str, Any], given: Collection[str]) -> list[str]:
    """Say which settings are about something that another setting says not to do."""
    idle: list[tuple[str, Sequence[str], str]] = []
    if settings.get("use_kl_loss") is False:
        idle.append(("training", OF_THE_KL_LOSS, "use_kl_loss is False"))
    if settings["num_env_runners"] and not settings["restart_failed_env_runners"]:
        # learners are replaced all the same, so many times in a row
        names = OF_RESTARTS if settings["num_learners"] else (*OF_RESTARTS, "max_failures_in_a_row")
        idle.append(("fault_tolerance", names, "restart_failed_env_runners is False"))
    return [
        f"{group}: {name}={settings[name]!r} would have no effect, as {why}; leave it out"
        for group, names, why in idle
        for name in names
        if name in given and settings[name] is not None
    ]
