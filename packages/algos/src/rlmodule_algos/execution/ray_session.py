"""The connection of this process to Ray. The only file that imports Ray, which needs `rlmodule-algos[ray]`.

By default a Ray of our own is started, which nobody else can reach: all of its sockets are on the
loopback, it asks its clients for a token of its own, it has no dashboard and sends no usage statistics, its
folder is one that only this user can enter, and `RAY_ADDRESS` is not looked at. All pools of a process share
it, and the last one to close ends it. An existing cluster is joined only where its address is given.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from rlmodule_algos.execution import ray_watchdog
from rlmodule_algos.execution.ray_connection import NO_FLUSH, shut_down
from rlmodule_algos.execution.ray_surroundings import (
    environment,
    loopback_only,
    require_answer,
    short_folder,
    sigterm_kept,
)
from rlmodule_algos.settings import ConfigError

try:
    import ray
    from ray import cloudpickle
except ImportError as missing:
    raise ImportError(
        "num_env_runners or num_learners above 0 needs Ray, which is not installed: "
        "pip install 'rlmodule-algos[ray]'",
        name=missing.name,
    ) from missing

__all__ = ["Session", "cloudpickle", "ray"]

FOLDER = "RLMODULE_RAY_FOLDER"  # in the environment of every process of a private Ray
LOOPBACK = "127.0.0.1"
CLEANED_UP_S = 5.0  # to wait for the watchdog
_lock = threading.RLock()


class Session:
    """The connection to Ray that all pools of this process share; the last to leave ends it."""

    current: Session | None = None

    def __init__(self, address: str | None, num_env_runners: int) -> None:
        self.address = address
        self.folder: str | None = None  # of a Ray of our own
        self._store: str | None = None  # its address
        self._users = 0
        self._ours = not ray.is_initialized()
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._token = ExitStack()  # of the environment, where it stands as long as this Ray is used
        self._node: object = None  # what Ray has of the connection
        if not self._ours:
            self._require_meant(address)
        elif address is None:
            self._start(num_env_runners)
        else:
            require_answer(address)
            with sigterm_kept():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        self._node = ray._private.worker._global_node

    @classmethod
    def enter(cls, address: str | None, num_env_runners: int) -> Session:
        """Join the session, or begin it. Raises ConfigError if Ray is in use for something else."""
        if address is not None and address.startswith("ray://"):
            raise ConfigError(
                f"env_runners: ray_address={address!r}: Ray Client is not supported; run this program on a "
                "node of the cluster and pass 'auto', or its 'host:port'"
            )
        with _lock:
            session = cls.current
            if session is not None and session.alive and session.address != address:
                raise ConfigError(
                    f"env_runners: ray_address={address!r}: another algorithm of this process uses Ray with "
                    f"ray_address={session.address!r}; stop() it first"
                )
            if session is None or not session.alive:
                if session is not None:
                    session._drop_token()
                session = cls.current = cls(address, num_env_runners)
            session._users += 1
            return session

    @property
    def alive(self) -> bool:
        """Whether this Ray is there still: somebody may have called `ray.shutdown()`, and begun another."""
        return bool(ray.is_initialized()) and ray._private.worker._global_node is self._node

    def leave(self) -> None:
        """End what was begun here once nobody uses it."""
        with _lock:
            self._users -= 1
            if self._users:
                return
            if Session.current is self:
                Session.current = None
            try:
                if self._ours and (self.alive or not ray.is_initialized()):
                    shut_down(ray._private.worker, self._store)
            finally:
                self._drop_token()
                self._dismiss_watchdog()

    def _drop_token(self) -> None:
        """Let the environment be as it was, also where this Ray has died and is still referred to."""
        self._token.close()
        if not ray.is_initialized():
            _forget_token()

    def _dismiss_watchdog(self) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            with suppress(subprocess.TimeoutExpired):  # it goes on by itself
                self._watchdog.wait(CLEANED_UP_S)

    def _require_meant(self, address: str | None) -> None:
        """Use a connection that the program made itself only where it says so."""
        found = ray.get_runtime_context().gcs_address
        if address not in ("auto", found):
            raise ConfigError(
                f"env_runners: this process is connected to Ray at {found} already, and ray_address is "
                f"{address!r}; pass ray_address='auto' to use it, or call ray.shutdown() first"
            )

    def _start(self, num_env_runners: int) -> None:
        folder = tempfile.mkdtemp(prefix=f"rlm-{os.getpid()}-", dir=short_folder())  # 0700
        self.folder = folder
        command = [sys.executable, "-I", "-S", ray_watchdog.__file__, folder]
        self._watchdog = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # whoever reads the driver's shall not wait for it
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._token.enter_context(environment(RAY_AUTH_TOKEN=secrets.token_hex(32)))
            _forget_token()
            ours = environment(**{FOLDER: folder, "RAY_AUTH_MODE": None})  # by default it asks for the token
            with sigterm_kept(), loopback_only(ray._private.ray_constants), ours:
                ray.init(
                    address="local",
                    num_cpus=max(1, num_env_runners),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _node_ip_address=LOOPBACK,
                    _temp_dir=str(Path(folder, "ray")),  # Ray opens its folder to all
                    _system_config=dict(NO_FLUSH),  # Ray adds its own to what it is given
                )
            self._node = ray._private.worker._global_node
            self._store = ray.get_runtime_context().gcs_address
            if (at := ray.util.get_node_ip_address()) != LOOPBACK:
                raise RuntimeError(
                    f"env_runners: Ray {ray.__version__} listens at {at}, not at {LOOPBACK} as it was told; "
                    "use a version from 2.59 on that is known to, or start a cluster and pass ray_address"
                )
        except BaseException:
            self._users = 1
            self.leave()
            raise


def _forget_token() -> None:
    """Let Ray look anew for the token that its clients show: it keeps what it found first.

    A private Ray has one of its own, which is in no file, but in the environment of its processes and of this
    one, and so of what this one starts meanwhile. By default Ray would write one into the user's home, for
    all to read who may enter there.
    """
    compiled: Any = ray._raylet
    compiled.AuthenticationTokenLoader.instance().reset_cache()
