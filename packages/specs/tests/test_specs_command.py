"""The command: check a file of arrays against a spec file, write a spec file, compare two."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlmodule_specs import SpecType, TensorSpec, to_json
from rlmodule_specs.cli import main

np: Any = pytest.importorskip("numpy")
Printed = pytest.CaptureFixture[str]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", **{"obs/arm": np.zeros((3, 4), "f4"), "mask": np.ones((3, 5), "i8")})
    np.save(tmp_path / "one.npy", np.zeros((3, 4)))
    spec: SpecType = {
        "obs": {"arm": TensorSpec("b, 4", dtype="float32")},
        "mask": TensorSpec("b, 5").one_of(2),
    }
    (tmp_path / "spec.json").write_text(to_json(spec))
    (tmp_path / "wrong.json").write_text(
        to_json({"obs": {"arm": TensorSpec("b, 5")}, "mask": TensorSpec("b").one_of(1)})
    )
    (tmp_path / "one.json").write_text(to_json(TensorSpec("b, 4")))
    return tmp_path


def test_the_command_says_whether_a_file_satisfies_a_spec(files: Path, capsys: Printed) -> None:
    data, spec = str(files / "data.npz"), str(files / "spec.json")
    assert main(["check", data, spec]) == 0
    assert capsys.readouterr().out == f"{data} satisfies {spec}\n"
    assert main(["check", data, spec, "--exact", "--values"]) == 0
    assert main(["check", str(files / "one.npy"), str(files / "one.json")]) == 0
    capsys.readouterr()
    wrong = str(files / "wrong.json")
    assert main(["check", data, wrong]) == 1
    assert capsys.readouterr().out == (
        f"{data} breaks {wrong} in 2 places\n"
        "  obs.arm:  expected [b, 5], got [3, 4]\n"
        "  mask:     expected [b], got [3, 5]\n"
    )


def test_the_options_of_the_command(files: Path, capsys: Printed) -> None:
    (files / "less.json").write_text(to_json({"mask": TensorSpec("b, 5").one_of(1)}))
    data, less = str(files / "data.npz"), str(files / "less.json")
    assert main(["check", data, less]) == 0
    assert main(["check", data, less, "--values"]) == 1
    assert "mask:  expected [b, 5] with values in [0, 0], got values from 1 to 1" in capsys.readouterr().out
    assert main(["check", data, less, "--exact"]) == 1
    assert "obs:  expected no such key, got a mapping with key 'arm'" in capsys.readouterr().out


def test_the_command_checks_also_while_checks_are_off(files: Path) -> None:
    code = "import sys; from rlmodule_specs.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "check", str(files / "data.npz"), str(files / "wrong.json")]
    assert (
        subprocess.run(command, env={"RLMODULE_CHECKS": "off"}, capture_output=True, check=False).returncode
        == 1
    )


def test_the_command_writes_and_compares_specs(files: Path, capsys: Printed) -> None:
    assert main(["infer", str(files / "data.npz")]) == 0
    written = capsys.readouterr().out
    (files / "new.json").write_text(written)
    assert main(["check", str(files / "data.npz"), str(files / "new.json"), "--exact"]) == 0
    capsys.readouterr()
    assert main(["infer", str(files / "data.npz"), "--leading"]) == 0
    (files / "literal.json").write_text(capsys.readouterr().out)
    assert main(["diff", str(files / "new.json"), str(files / "literal.json")]) == 1
    assert capsys.readouterr().out == (
        "obs.arm: numpy float32 [b, 4] -> numpy float32 [3, 4]\n"
        "mask: numpy int64 [b, 5] -> numpy int64 [3, 5]\n"
    )
    assert main(["diff", str(files / "new.json"), str(files / "new.json")]) == 0
    assert capsys.readouterr().out == ""


HELP = """usage: rlmodule-specs [-h] {check,infer,diff} ...

Check files of arrays against specs.

positional arguments:
  {check,infer,diff}
    check             check a file of arrays against a spec
    infer             write the spec of a file of arrays
    diff              show what changed between two specs
"""
CHECK = """positional arguments:
  data        .npz or .npy; 'obs/arm' in an .npz is the nested key obs.arm
  spec        a spec as JSON

options:
  -h, --help  show this help message and exit
  --exact     refuse arrays that the spec does not have
  --values    compare limits and class numbers too
"""


def test_the_command_explains_itself(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for arguments, expected in (["--help"], HELP), (["check", "--help"], CHECK):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        assert expected in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["infer", "--help"])
    assert " names of the leading axes (default: b)\n" in capsys.readouterr().out


def test_a_written_spec_is_indented(tmp_path: Path, capsys: Printed) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 4)))
    assert main(["infer", str(tmp_path / "x.npy")]) == 0
    lines = ["{", '  "tensor": "b, 4",', '  "dtype": "float64",', '  "framework": "numpy"', "}"]
    assert capsys.readouterr().out.splitlines() == lines


def test_without_numpy_the_command_says_what_to_install(
    files: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert main(["check", str(files / "data.npz"), str(files / "spec.json")]) == 2
    assert capsys.readouterr().err == "reading arrays needs NumPy: pip install numpy\n"


def test_a_file_that_cannot_be_read_is_exit_code_2(files: Path, capsys: Printed) -> None:
    (files / "broken.npz").write_bytes(b"PK")
    (files / "broken.json").write_text("{")
    np.savez(files / "clash.npz", **{"a": np.zeros(1), "a/b": np.zeros(1)})
    np.savez(files / "clash2.npz", **{"a/b": np.zeros(1), "a": np.zeros(1)})
    np.savez(files / "pickled.npz", a=np.array([{}], dtype=object))
    for data, spec, said in [
        ("none.npz", "spec.json", "No such file"),
        ("broken.npz", "spec.json", "broken.npz: "),
        ("data.npz", "none.json", "No such file"),
        ("data.npz", "broken.json", "broken.json: this is no JSON"),
        ("clash.npz", "spec.json", "clash.npz: 'a' is an array and also the front of 'a/b'"),
        ("clash2.npz", "spec.json", "clash2.npz: 'a' is an array and also the front of another name"),
        ("pickled.npz", "spec.json", "allow_pickle=False"),
    ]:
        assert main(["check", str(files / data), str(files / spec)]) == 2
        output = capsys.readouterr()
        assert said in output.err
        assert output.out == ""
    with pytest.raises(SystemExit) as usage:
        main([])
    assert usage.value.code == 2
