"""Ends this process's connection to a private Ray in an order in which nothing of it stays.

Ray's shutdown frees no request that has no answer yet: its channel or its socket, and some memory, stay for
the life of the process. There are requests of both directions.

A driver always has one to the store of its cluster (the GCS) under way, the long poll of what it subscribed
to (`ClientCallTag` in Ray's client_call.h). So the store goes first, while somebody still listens: gRPC lets
the request fail and closes the socket, and there is nobody to ask again.

The store has one at the driver for each actor, to be told when nobody refers to it any more (`ServerCall` in
server_call.h, `WaitForActorRefDeleted`). It is answered where the last handle is dropped, by a thread that
needs a moment on a busy machine, and its socket is closed once it is answered and the store is gone. So
handles are dropped before, and we wait until the store's sockets are closed, in both directions.

A node asks the owner of an object that an actor is started with where it is, and where it has it already may
leave a poll behind that nobody answers. So what an actor is made of travels in the request to start it,
unless it is large.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType

CLOSED_S = 1.0  # to wait for gRPC, which takes some 20 ms
NO_FLUSH = {"task_events_shutdown_flush_timeout_ms": 1}  # of Ray, which would wait 5 s for a store to answer
SUBSCRIBERS = ("gcs_error_subscriber", "gcs_log_subscriber")  # of Ray's object for this process
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def shut_down(worker: ModuleType, store: str | None) -> None:
    """Shut Ray down, before it the store at "host:port" if it is our own; `worker` is Ray's module.

    No actor may be referred to any more.
    """
    node = worker._global_node
    if store is not None and node is not None and node.gcs_address == store:
        before = connections(store_of(worker))
        node.kill_gcs_server(check_alive=False)
        end = monotonic() + CLOSED_S
        while any(target_of(entry) == target for entry, target in before.items()) and monotonic() < end:
            sleep(0.005)
    worker.shutdown()
    for name in SUBSCRIBERS:  # kept until Ray's next start, each with a channel, perhaps a socket
        vars(worker.global_worker).pop(name, None)


def store_of(worker: ModuleType) -> int:
    """Return the process id of the store of the Ray that this process started."""
    (started,) = worker._global_node.all_processes[worker.ray_constants.PROCESS_TYPE_GCS_SERVER]
    return int(started.process.pid)


def connections(pid: int) -> dict[Path, str]:
    """Return our descriptors, and what they stand for, of TCP connections to a process; on Linux alone."""
    rows = [line.split() for table in TABLES if table.exists() for line in table.read_text().splitlines()[1:]]
    theirs = set(descriptors(pid).values())
    ends = {(port(row[2]), port(row[1])) for row in rows if f"socket:[{row[9]}]" in theirs}
    ours = {f"socket:[{row[9]}]" for row in rows if (port(row[1]), port(row[2])) in ends}
    return {entry: target for entry, target in descriptors(os.getpid()).items() if target in ours}


def port(address: str) -> str:
    """Return the port of an address as the tables of the kernel have it; IPv4 may wear IPv6's clothes."""
    return address.rpartition(":")[2]


def descriptors(pid: int) -> dict[Path, str]:
    """Return the descriptors of a process and what they stand for; none of one that is gone."""
    with suppress(OSError):
        return {entry: target_of(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return {}


def target_of(entry: Path) -> str:
    """Return what a descriptor stands for, "" if it is closed."""
    try:
        return os.readlink(entry)
    except OSError:
        return ""
