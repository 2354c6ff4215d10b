"""Every example and every page runs, in a process of its own, as a reader would run it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from rlmodule_tf import TfCategorical

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
by_framework = pytest.mark.parametrize("framework", ["torch", "tf"])


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run in an environment that says nothing of TensorFlow, as a reader's does."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    ran = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=cwd, env=plain
    )
    assert ran.returncode == 0, ran.stderr
    return ran


@cache
def ran(example: str) -> subprocess.CompletedProcess[str]:
    return run(str(ROOT / "examples" / example), "1")


def printed(example: str) -> list[str]:
    return ran(example).stdout.splitlines()


def numbers(lines: list[str]) -> list[float]:
    return [float(number) for line in lines for number in re.findall(r"-?\d+\.?\d*", line)]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs_and_prints_something_short(example: str) -> None:
    assert 1 <= len(printed(example)) <= 20


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_needs_no_cast_and_hides_nothing_from_the_type_checker(example: str) -> None:
    source = (ROOT / "examples" / example).read_text()

    assert not re.search(r"type: ignore|(?<!tf\.)\bcast\b|no_type_check|mypy:", source)


USES_TF = [name for name in EXAMPLES if "import tensorflow" in (ROOT / "examples" / name).read_text()]


@pytest.mark.parametrize("example", USES_TF)
def test_an_example_with_tensorflow_says_nothing_beside_its_output(example: str) -> None:
    assert ran(example).stderr == ""


def test_importing_tensorflow_first_is_said_once_and_the_other_way_round_is_silent() -> None:
    x86 = platform.machine() in ("x86_64", "AMD64")
    late = run("-c", "import tensorflow, rlmodule_tf")
    early = run("-c", "import rlmodule_tf, tensorflow")

    assert late.stderr.count("tensorflow was imported before rlmodule_tf") == x86
    assert early.stderr == ""


@pytest.mark.parametrize(("framework", "distribution"), [("torch", "Categorical"), ("tf", "TfCategorical")])
def test_the_custom_module_has_450_parameters_and_a_gradient_in_training_alone(
    framework: str, distribution: str
) -> None:
    assert printed(f"custom_module_{framework}.py") == [
        "450 parameters",  # 4 * 64 + 64 + 64 * 2 + 2
        f"forward_train: {distribution}, gradient True",
        f"forward_exploration: {distribution}, gradient False",
        f"forward_inference: {distribution}, gradient False",
        "as multi-agent: ['default_policy']",
    ]


@pytest.mark.parametrize(
    ("framework", "wanted"), [("torch", torch.distributions.Categorical), ("tf", TfCategorical)]
)
def test_each_form_of_a_spec_refuses_in_these_words(framework: str, wanted: type) -> None:
    wanted_name = f"{wanted.__module__}.{wanted.__qualname__}"
    refused = "forward_exploration: the batch breaks input_specs_exploration()"
    assert printed(f"module_specs_{framework}.py") == [
        f"SingleKeys.{refused} in 1 place",
        "  obs:  expected anything, got no such key, there are 'observation'",
        f"NestedKeys.{refused} in 2 places",
        "  obs.local:    expected anything, got no such key, did you mean 'global'?",
        "  action_mask:  expected anything, got no such key, there are 'obs'",
        f"TensorShapes.{refused} in 1 place",
        f"  obs:  expected {framework} [b, 10], got {framework} [32, 4]",
        "Types.forward_exploration: the output breaks output_specs_exploration() in 1 place",
        f"  action_dist:  expected {wanted_name}, got {framework} float32 [32, 2]",
    ]


@by_framework
def test_shared_weights_count_once_and_stay_with_the_module_that_is_left(framework: str) -> None:
    encoder = 2 * 64 + 64 + 64 * 64 + 64
    head_2d = (64 + 2) * 64 + 64 + 64 * 2 + 2
    head_5d = (64 + 5) * 64 + 64 + 64 * 5 + 5
    assert encoder + head_2d + head_5d == 13_575

    assert printed(f"multi_agent_{framework}.py") == [
        "module_1: 418 parameters",  # 10 * 32 + 32 + 32 * 2 + 2
        "module_2: 130 parameters",  # 5 * 16 + 16 + 16 * 2 + 2
        "shared encoder: 13575 parameters",
        "{'local_2d': (3, 2), 'local_5d': (4, 5)}",
        f"without local_2d: {encoder + head_5d} parameters",
    ]


@pytest.mark.parametrize(("framework", "prefix"), [("torch", "Torch"), ("tf", "Tf")])
def test_ppo_trains_a_module_of_ones_own_and_one_of_ones_own_catalog(framework: str, prefix: str) -> None:
    inherited, first, from_catalog, second = printed(f"extend_ppo_{framework}.py")

    assert inherited == f"MyPPORLModule with {prefix}ActorCriticEncoder"
    assert from_catalog == f"PPO{prefix}RLModule with ResidualEncoder"
    assert all(5 < mean < 100 for mean in numbers([first, second]))  # 512 steps of a policy that knows little


@by_framework
def test_a_module_with_two_forwards_learns_by_imitation(framework: str) -> None:
    first, second, explored, greedy = printed(f"migration_{framework}.py")
    before, after, loss = numbers([first, second])

    assert before < 50 < 150 <= after
    assert loss < 0.1  # at the start it is log 2
    assert explored.endswith("log-likelihoods as drawn: True")
    assert re.fullmatch(r"greedy: (\[[01, ]+\]), one by one: \1", greedy)


@by_framework
def test_one_module_class_is_cloned_for_one_agent_and_for_two(framework: str) -> None:
    one, two = printed(f"behaviour_cloning_{framework}.py")

    assert re.fullmatch(r"one: validation loss \{'default_policy': 0\.\d+\}, return \d+", one)
    assert re.fullmatch(r"two: validation loss \{'agent_0': 0\.\d+, 'agent_1': 0\.\d+\}, return \d+", two)


NEUTRAL = pytest.mark.parametrize("example", ["clone_a_policy", "ppo_lstm", "independent_agents"])


@NEUTRAL
def test_an_example_without_a_framework_in_its_name_runs_in_tensorflow_too(example: str) -> None:
    in_torch = printed(f"{example}.py")
    in_tf = run(
        "-c", f"from {example} import main; main(1, framework='tf')", cwd=ROOT / "examples"
    ).stdout.splitlines()

    assert [line.split()[0] for line in in_tf] == [line.split()[0] for line in in_torch]


def test_of_independent_agents_only_the_module_that_is_trained_moves() -> None:
    learner, frozen, learned = printed("independent_agents.py")

    assert re.fullmatch(r"learner: return \d+\.\d, moved: True", learner)
    assert re.fullmatch(r"frozen: return \d+\.\d, moved: False", frozen)
    assert learned == "learned: ['learner']"


def test_checkpoints_are_three_files_and_are_followed_only_to_classes_that_are_known() -> None:
    files, ours, equal, unknown, registered, carried = printed("checkpoints.py")

    assert files == "['manifest.json', 'state.json', 'tensors.safetensors']"
    assert ours == "loaded PPOTorchRLModule"
    assert equal == "equal to the last bit: True"
    assert unknown.startswith("refused: module_class: __main__:MyModule was defined in a script; pass")
    assert registered == "loaded MyModule"
    assert carried == "TensorFlow with PyTorch's weights: logits within 1e-6: True"


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


PACKAGE_PAGES = sorted(ROOT.glob("packages/*/README.md"))
PAGES = [ROOT / "README.md", *PACKAGE_PAGES, *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    run("-c", "\n".join(python_blocks(page)), cwd=tmp_path)
