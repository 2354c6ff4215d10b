"""Ends this process's connection to a private Ray in an order in which nothing of it stays.

A driver always has a request to the store of its cluster (the GCS) under way, the long poll of what it
subscribed to. Ray's shutdown ends the threads that collect answers while there is none yet, and never
frees the request: its channel, its socket and some memory stay for the life of the process (`ClientCallTag`
in Ray's client_call.h). So the store goes first, while somebody still listens: gRPC lets the request fail
and closes the socket, and there is nobody to ask again.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType

FILES = Path("/proc/self/fd")
CLOSED_S = 1.0  # to wait for gRPC, which takes some 20 ms
NO_FLUSH = {"task_events_shutdown_flush_timeout_ms": 1}  # of Ray, which would wait 5 s for a store to answer
SUBSCRIBERS = ("gcs_error_subscriber", "gcs_log_subscriber")  # of Ray's object for this process


def shut_down(worker: ModuleType, store: str | None) -> None:
    """Shut Ray down, before it the store at "host:port" if it is our own; `worker` is Ray's module."""
    node = worker._global_node
    if store is not None and node is not None and node.gcs_address == store:
        host, _, port = store.rpartition(":")
        before = connections((host, int(port)))
        node.kill_gcs_server(check_alive=False)
        end = monotonic() + CLOSED_S
        while any(target_of(entry) == target for entry, target in before.items()) and monotonic() < end:
            sleep(0.005)
    worker.shutdown()
    for name in SUBSCRIBERS:  # kept until Ray's next start, each with a channel, perhaps a socket
        vars(worker.global_worker).pop(name, None)


def connections(peer: tuple[str, int]) -> dict[Path, str]:
    """Return the descriptors, and what they stand for, of connections to an IPv4 peer; on Linux alone."""
    found = {}
    for entry in FILES.iterdir() if FILES.exists() else ():
        if (target := target_of(entry)).startswith("socket:"):
            with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as copy:
                if _peer(copy) == peer:
                    found[entry] = target
    return found


def target_of(entry: Path) -> str:
    """Return what a descriptor stands for, "" if it is closed."""
    try:
        return os.readlink(entry)
    except OSError:
        return ""


def _peer(connection: socket.socket) -> tuple[str, int] | None:
    """Return the other end; gRPC writes an IPv4 address in IPv6's clothes."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port = connection.getpeername()[:2]
    return host.removeprefix("::ffff:"), port
