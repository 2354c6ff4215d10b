"""Joining a cluster that somebody else runs: here one of three Ray nodes on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ray_checks import needs_ray
from rlmodule_algos import ConfigError, PPOConfig
from rlmodule_algos.execution import RemotePool

pytestmark = [pytest.mark.long, needs_ray]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made
    finally:
        made.shutdown()


def config(address: str | None) -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=3, ray_address=address)
        .training(train_batch_size=384, minibatch_size=64, model={"fcnet_hiddens": [8]})
        .debugging(seed=0)
    )


def raylet_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_runners_spread_over_the_nodes_of_a_cluster_that_outlives_them(cluster: Any) -> None:
    with config(cluster.address).build() as algorithm:
        for _ in range(3):
            result = algorithm.train()
        assert isinstance(algorithm.pool, RemotePool)
        pids = [slot.pid for slot in algorithm.pool._fleet.slots]
        assert len({raylet_of(pid) for pid in pids if pid is not None}) == 3
        assert result["fault_tolerance"]["num_healthy_env_runners"] == 3
        assert result["env_runners"]["num_env_steps_sampled_lifetime"] > 3 * 300

    assert all(node.remaining_processes_alive() for node in cluster.list_all_nodes())


def test_a_node_that_is_lost_takes_its_runner_which_starts_anew_elsewhere(cluster: Any) -> None:
    with config(cluster.address).env_runners(num_env_runners=2).build() as algorithm:
        algorithm.train()
        pool = algorithm.pool
        assert isinstance(pool, RemotePool)
        homes = {raylet_of(slot.pid) for slot in pool._fleet.slots if slot.pid is not None}
        nodes = [
            node for node in cluster.worker_nodes if node.all_processes["raylet"][0].process.pid in homes
        ]
        cluster.remove_node(nodes[0], allow_graceful=False)
        for _ in range(1000):
            health = algorithm.train()["fault_tolerance"]
            if health["num_restarts"] == 1 and health["num_healthy_env_runners"] == 2:
                break

        assert health["num_restarts"] == 1
        assert health["num_healthy_env_runners"] == 2


def test_a_connection_of_the_program_itself_is_used_only_where_it_is_named(cluster: Any) -> None:
    import ray

    ray.init(address=cluster.address, log_to_driver=False)
    try:
        with pytest.raises(ConfigError, match=r"connected to Ray at .* already"):
            config(None).build()
        with config("auto").env_runners(num_env_runners=1).build() as algorithm:
            algorithm.train()
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_an_address_where_nobody_answers_is_an_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(ConfigError, match="no cluster answers there"):
            config(f"127.0.0.1:{unused.getsockname()[1]}").build()
    with pytest.raises(ConfigError, match="expected 'host:port'"):
        config("nowhere").build()
