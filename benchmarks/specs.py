"""What a check costs, beside hand-written `if`s and beside other checkers of tensors.

    python benchmarks/specs.py                 all that can be measured, peers installed at first use
    python benchmarks/specs.py --no-install    with the peers that are installed already

Each peer has an environment of its own under benchmarks/.peers. The floor, hand-written `if`s for the same
structure, is measured in the same process as each checker, in alternation: the ratio counts, not the time.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from timeit import Timer
from typing import Any, NamedTuple

PEERS = Path(__file__).parent / ".peers"
ROUNDS = 200
WINDOW = 0.002  # seconds of one round: short, so that some rounds are undisturbed on a busy machine


class Peer(NamedTuple):
    """Another checker: what pip installs for it, and the function below that prepares it."""

    name: str
    requirements: tuple[str, ...]


TORCH = "torch==2.13.0"
RIVALS = {
    "jaxtyping-beartype": Peer(
        "jaxtyping 0.3.11 + beartype 0.23.1", (TORCH, "numpy", "jaxtyping==0.3.11", "beartype==0.23.1")
    ),
    "torchrl": Peer("TorchRL 0.14.1 specs", (TORCH, "torchrl==0.14.1")),
    "rllib-2.5.1": Peer(
        "RLlib 2.5.1 SpecDict", (TORCH, "ray[rllib]==2.5.1", "numpy<2", "setuptools<80", "pydantic<2")
    ),
}
Check = Callable[[Any], object]
Figures = dict[str, dict[str, float]]  # {what: {us, ratio}}


# --- the structures: one leaf, ten leaves, and one leaf among a thousand other keys


def one_leaf(make: Callable[..., Any]) -> dict[str, Any]:
    """`{"obs": float32 [32, 10]}`."""
    return {"obs": make((32, 10))}


def ten_leaves(make: Callable[..., Any]) -> dict[str, Any]:
    """Ten leaves `[32, 10]` in one dict."""
    return {f"obs{number}": make((32, 10)) for number in range(10)}


def floor_one(tensor: Any, dtype: object) -> Check:
    """What a careful person writes by hand for one leaf."""

    def check(data: Any) -> None:
        obs: Any = data["obs"]
        if not isinstance(obs, tensor):
            raise TypeError("obs is no tensor")
        if obs.dtype != dtype:
            raise TypeError("obs is not float32")
        shape = obs.shape
        if len(shape) != 2 or shape[1] != 10:
            raise ValueError("obs is not [b, 10]")

    return check


# --- what is measured


def ours(kind: str) -> dict[str, tuple[Check, Any]]:
    """Our checks: {name: (check, data)}."""
    import numpy
    import torch

    from rlmodule_specs import CallChecker, Checker, SpecType, TensorSpec, check

    make = torch.zeros if kind == "torch" else lambda shape: numpy.zeros(shape, "float32")
    leaf = TensorSpec("b, 10", dtype="float32")
    spec: SpecType = {"obs": leaf}
    call = CallChecker(spec, {"out": leaf})
    data, result = one_leaf(make), {"out": make((32, 10))}

    def pair(batch: Any) -> None:
        call.output(result, call.input(batch))

    ten = ten_leaves(make)
    many = {**data, **{f"key{number}": 0 for number in range(1000)}}
    large = {"obs": make((100_000, 10))}
    return {
        "one leaf": (Checker(spec).check, data),
        "one leaf, exact": (Checker(spec, exact=True).check, data),
        "one leaf and 1000 other keys": (Checker(spec).check, many),
        "one leaf of 100,000 rows": (Checker(spec).check, large),
        "ten leaves": (Checker(dict.fromkeys(ten, leaf)).check, ten),
        "input and output of a call": (pair, data),
        "check(data, spec), nothing kept": (lambda data: check(data, spec), data),
    }


def jaxtyping_beartype() -> dict[str, tuple[Check, Any]]:
    """A decorated function: the way that jaxtyping's documentation recommends."""
    import torch

    beartype: Any = import_module("beartype").beartype
    jaxtyping: Any = import_module("jaxtyping")

    def leaf(obs: Any) -> None: ...

    leaf.__annotations__["obs"] = jaxtyping.Float32[torch.Tensor, "b 10"]
    bound: Any = jaxtyping.jaxtyped(typechecker=beartype)(leaf)
    alone: Any = beartype(leaf)

    data = one_leaf(torch.zeros)
    return {
        "one leaf": (lambda data: bound(data["obs"]), data),
        "one leaf, names not bound": (lambda data: alone(data["obs"]), data),
    }


def torchrl() -> dict[str, tuple[Check, Any]]:
    """`Composite.is_in`, with the batch size fixed: a spec of TorchRL cannot leave it open."""
    import torch

    TensorDict: Any = import_module("tensordict").TensorDict
    data: Any = import_module("torchrl.data")

    def spec(keys: Any) -> Any:
        return data.Composite(
            {key: data.Unbounded((32, 10), dtype=torch.float32) for key in keys}, shape=(32,)
        )

    one, ten = one_leaf(torch.zeros), ten_leaves(torch.zeros)
    return {
        "one leaf": (spec(one).is_in, TensorDict(one, batch_size=[32])),
        "ten leaves": (spec(ten).is_in, TensorDict(ten, batch_size=[32])),
    }


def rllib() -> dict[str, tuple[Check, Any]]:
    """`SpecDict.validate` on RLlib's own NestedDict, made beforehand."""
    import torch

    specs = "ray.rllib.core.models.specs"
    TensorSpec: Any = import_module(f"{specs}.specs_base").TensorSpec
    SpecDict: Any = import_module(f"{specs}.specs_dict").SpecDict
    NestedDict: Any = import_module("ray.rllib.utils.nested_dict").NestedDict

    leaf = TensorSpec("b, h", h=10, dtype=torch.float32, framework="torch")
    one, ten = one_leaf(torch.zeros), ten_leaves(torch.zeros)
    return {
        "one leaf": (SpecDict({"obs": leaf}).validate, NestedDict(one)),
        "ten leaves": (SpecDict(dict.fromkeys(ten, leaf)).validate, NestedDict(ten)),
    }


# --- measuring


def measure(checks: dict[str, tuple[Check, Any]], floor: Check, floor_data: Any) -> Figures:
    """Microseconds of each check and the ratio to the floor: the best of many rounds, in alternation."""
    all_checks = {**checks, "floor": (floor, floor_data)}
    timers, calls = {}, {}
    for name, (check, data) in all_checks.items():
        timers[name] = Timer("check(data)", globals={"check": check, "data": data})
        calls[name] = max(1, int(WINDOW / min(timers[name].repeat(5, 10)) * 10))
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            best[name] = min(best[name], timer.timeit(calls[name]) / calls[name] * 1e6)
    return {name: {"us": best[name], "ratio": best[name] / best["floor"]} for name in best}


def measure_here(what: str) -> Figures:
    """Measure in this process: ours for a framework, or the peer of this environment."""
    import torch

    torch.set_num_threads(1)
    if what == "numpy":
        import numpy

        data = one_leaf(lambda shape: numpy.zeros(shape, "float32"))
        return measure(ours(what), floor_one(numpy.ndarray, numpy.dtype("float32")), data)
    prepare = {"jaxtyping-beartype": jaxtyping_beartype, "torchrl": torchrl, "rllib-2.5.1": rllib}
    checks = ours(what) if what == "torch" else prepare[what]()
    return measure(checks, floor_one(torch.Tensor, torch.float32), one_leaf(torch.zeros))


def install(name: str) -> str | None:
    """Make the environment of a peer; returns why that failed."""
    folder = PEERS / name
    if (folder / "installed").exists():
        return None
    venv.create(folder, with_pip=True, clear=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *RIVALS[name].requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return (
            done.stderr.strip().splitlines()[-1]
            if done.stderr.strip()
            else f"pip ended with {done.returncode}"
        )
    (folder / "installed").touch()
    return None


def measured(what: str, python: Path) -> Figures | str:
    """The figures of one process of some environment, or why there are none."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(python), str(Path(__file__).resolve()), "--measure", what]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description="Measure what a check of tensors costs.")
    parser.add_argument("--no-install", action="store_true", help="install no peer")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure_here(options.measure)))
        return
    print(f"{'checker':<40} {'what':<34} {'us':>8} {'x floor':>8}")
    for framework in ("torch", "numpy"):
        show(f"rlmodule-specs, {framework}", measured(framework, Path(sys.executable)))
    for name, peer in RIVALS.items():
        missing = None if options.no_install else install(name)
        python = PEERS / name / "bin" / "python"
        if options.no_install and not python.exists():
            missing = "not installed"
        show(peer.name, f"not measured: {missing}" if missing else measured(name, python))


def show(name: str, figures: Figures | str) -> None:
    """Print the rows of one checker."""
    if isinstance(figures, str):
        print(f"{name:<40} {figures}")
        return
    for what, figure in figures.items():
        print(f"{name:<40} {what:<34} {figure['us']:>8.2f} {figure['ratio']:>8.1f}")


if __name__ == "__main__":
    main()
