"""A private Ray asks its clients for a token that only its own processes have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ray_checks import needs_ray

pytestmark = [
    needs_ray,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the token is read from /proc"),
]

PROGRAM = '''
import json, os, subprocess, sys
from pathlib import Path
import ray
from rlmodule_algos import PPOConfig

CLIENT = """
import sys
from ray._raylet import GcsClient
print(len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)), "node")
"""

def ask(address, **token):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", CLIENT, address]
    done = subprocess.run(command, env=clean | token, capture_output=True, text=True)
    return done.stdout.strip() or done.stderr

if __name__ == "__main__":
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=1)
    found = {}
    with config.training(train_batch_size=128).build() as algorithm:
        algorithm.train()
        address = ray.get_runtime_context().gcs_address
        (store,) = ray._private.worker._global_node.all_processes["gcs_server"]
        variables = Path(f"/proc/{store.process.pid}/environ").read_text().split("\\0")
        (token,) = [one.partition("=")[2] for one in variables if one.startswith("RAY_AUTH_TOKEN=")]
        found["none"] = ask(address)
        found["another"] = ask(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
        found["right"] = ask(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    found["left"] = Path.home().joinpath(".ray").exists() or "RAY_AUTH_TOKEN" in os.environ
    ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=1)
    found["own"] = ray.get(ray.remote(lambda: "answered").remote())  # by a Ray of the program's own
    ray.shutdown()
    algorithm = config.build()
    ray.shutdown()
    ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=1)
    algorithm.stop()
    found["own, begun under an algorithm"] = ray.get(ray.remote(lambda: "answered").remote())
    ray.shutdown()
    print(json.dumps(found))
'''


def test_nobody_without_its_token_may_ask_a_private_ray_and_no_file_tells_it(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=clean | {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"},  # which is of no other Ray
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])

    assert found["right"] == "1 node"
    assert "InvalidAuthToken" in found["none"]
    assert "InvalidAuthToken" in found["another"]
    assert found["left"] is False
    assert found["own"] == "answered"
    assert found["own, begun under an algorithm"] == "answered"
