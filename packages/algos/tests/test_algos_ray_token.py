"""A private Ray asks its clients for a token of its own, which is there as long as it is."""

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
from rlmodule_algos.execution.ray_session import Session

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

def answer():
    return ray.get(ray.remote(lambda: "answered").remote())

if __name__ == "__main__":
    found = {}
    first = Session.enter(None, 1)
    address = ray.get_runtime_context().gcs_address
    token = os.environ["RAY_AUTH_TOKEN"]
    found["none"] = ask(address)
    found["another"] = ask(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    found["right"] = ask(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    ray.shutdown()
    second = Session.enter(None, 1)
    its_own = os.environ["RAY_AUTH_TOKEN"]
    found["new"] = its_own != token
    os.environ["RAY_AUTH_TOKEN"] = "1" * 64  # of the program, for a cluster of its own
    first.leave()
    found["kept"] = os.environ.get("RAY_AUTH_TOKEN") == "1" * 64
    found["second"] = second.alive and answer()
    os.environ["RAY_AUTH_TOKEN"] = its_own
    second.leave()
    found["left"] = Path.home().joinpath(".ray").exists() or "RAY_AUTH_TOKEN" in os.environ
    del os.environ["RAY_AUTH_MODE"]
    ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=1)
    found["own"] = answer()  # by a Ray of the program's own
    ray.shutdown()
    print(json.dumps(found))
'''


def test_a_private_ray_answers_who_has_its_token_which_is_in_no_file_and_goes_with_it(tmp_path: Path) -> None:
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
    assert found["new"] is True
    assert found["kept"] is True
    assert found["second"] == "answered"
    assert found["left"] is False
    assert found["own"] == "answered"
