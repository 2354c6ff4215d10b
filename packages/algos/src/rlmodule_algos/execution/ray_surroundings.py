"""What surrounds the start and the end of Ray's processes: variables, signals, addresses and folders."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType

from rlmodule_algos.execution import ray_watchdog
from rlmodule_algos.settings import ConfigError

ANSWER_S = 10.0  # to wait for a cluster to accept a connection
OBEY_S = 1.0  # to wait for a process that Ray was told to end


@contextmanager
def environment(**variables: str | None) -> Iterator[None]:
    """Set environment variables for what is started inside, or let there be none of a name.

    What somebody else sets meanwhile stays.
    """
    before = {name: os.environ.get(name) for name in variables}
    _set_variables(variables)
    try:
        yield
    finally:
        ours = [name for name, value in variables.items() if os.environ.get(name) == value]
        _set_variables({name: before[name] for name in ours})


def _set_variables(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def loopback_only(constants: ModuleType) -> Iterator[None]:
    """Let Ray take the loopback for this machine's address, as it does where it allows no cluster.

    `constants` are those of Ray. With any other address its servers listen on all interfaces.
    """
    before = constants.ENABLE_RAY_CLUSTER
    vars(constants)["ENABLE_RAY_CLUSTER"] = False
    try:
        with environment(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_USAGE_STATS_ENABLED="0"):
            yield
    finally:
        vars(constants)["ENABLE_RAY_CLUSTER"] = before


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Keep the program's handler of SIGTERM, which `ray.init` would replace."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if in_main_thread and before is not None:
            signal.signal(signal.SIGTERM, before)


def require_answer(address: str) -> None:
    """Raise ConfigError unless somebody listens there; Ray itself would try for many minutes."""
    if address == "auto":
        return  # Ray knows at once whether there is one
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"env_runners: ray_address={address!r}: no cluster answers there ({error}); expected 'host:port' "
            "of a head node, or 'auto' on a node of the cluster"
        ) from error


def short_folder() -> str:
    """Return a folder for temporary files whose path leaves room: that of a socket has 107 letters."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 16 or not Path("/tmp").is_dir() else "/tmp"


def make_sure_of_the_end(pids: Iterable[int], folder: str) -> None:
    """Kill those processes of a private Ray that do not obey.

    Not at once: Ray tells the user of a worker that died before it had told it to. They have the same
    second, however many they are.
    """
    end = monotonic() + OBEY_S
    left = [pid for pid in pids if ray_watchdog.is_marked(pid, folder)]
    while left and monotonic() < end:
        sleep(0.01)
        left = [pid for pid in left if ray_watchdog.is_marked(pid, folder)]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
