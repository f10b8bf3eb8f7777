"""The command line: exit codes, messages, and what each command prints."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curate import __version__
from curate.cli import main
from curate.driver.execute import Outcome
from tests import cli_docs, hand


@pytest.fixture
def builder(tmp_path: Path) -> hand.Builder:
    """The tables of a small workspace."""
    return hand.build(tmp_path / "ws")


@pytest.fixture
def workspace(builder: hand.Builder) -> str:
    """A small finished workspace."""
    return builder.finish()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a wrong request: exit code 2, nothing on stdout, one ``error:``."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "Traceback" not in printed.err
    return printed.err


# --- wrong requests


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["sing"], ["sample", "ws", "--n", "0"], ["run", "r.yaml", "--cpus", "many"], ["stats"]]
)
def test_wrong_arguments_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_wrong_recipes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    assert "does not exist" in refused(capsys, "run", str(recipe))
    recipe.write_text("inputs: [{source: a, path: b}]\npakc: {window: 4}\n")
    assert "line 2: unknown key `pakc`; did you mean `pack`?" in refused(capsys, "run", str(recipe))
    recipe.write_text("inputs: [{source: a, path: nowhere.jsonl}]\n")
    assert "nowhere.jsonl does not exist" in refused(capsys, "check", str(recipe))


def test_run_wants_one_recipe(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "name one recipe" in refused(capsys, "run")
    assert "name one recipe" in refused(capsys, "run", "recipe.yaml", "--from", workspace)
    assert "name a recipe" in refused(capsys, "check")


@pytest.mark.parametrize("command", ["stats", "sample", "verify", "clean", "explain"])
def test_no_such_workspace(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [command, str(tmp_path / "none"), *(["x"] if command == "explain" else [])]
    assert "holds no finished run" in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_request_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-m", "curate", "stats", "/nowhere"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


# --- looking


def test_stats(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", workspace, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["funnel"]["input"] == 9
    assert main(["stats", workspace]) == 0
    assert "gopher_quality.gopher_short_doc" in capsys.readouterr().out


def test_explain(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", workspace, "a"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2 records match\n")
    assert printed.count("kept\n") == 2
    assert main(["explain", workspace, "d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["keeper"]["id"] == "a"
    assert "has the id or doc_id 'zz'" in refused(capsys, "explain", workspace, "zz")


def test_sample(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", workspace, "--removed-by", "dedup", "--json"]) == 0
    assert {one["id"] for one in json.loads(capsys.readouterr().out)} == {"d", "f"}
    assert "nothing was removed by 'c4'" in refused(capsys, "sample", workspace, "--removed-by", "c4")
    assert "leave out --removed-by" in refused(capsys, "sample", workspace, "--semantic", "--removed-by", "c4")


def test_verify_exits_1_on_a_fault(builder: hand.Builder, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = builder.finish()
    assert main(["verify", workspace]) == 0
    assert "no fault found" in capsys.readouterr().out
    builder.path("rejects").unlink()
    assert main(["verify", workspace, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["faults"][0]["what"]) == (False, "is missing")


def test_clean(workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = Path(workspace) / "tmp/scratch/left"
    place.write_text("x")
    assert main(["clean", workspace]) == 0
    assert "`--yes` removes" in capsys.readouterr().out
    assert place.exists()
    assert main(["clean", workspace, "--yes"]) == 0
    assert not place.exists()


def test_schema_lists_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    from curate.recipe.file import field_rows

    assert main(["schema"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [row[0] for row in field_rows()]
    assert any(line.split()[:3] == ["pack.window", "int", "8192"] for line in lines)


def test_schema_of_one_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "inputs"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names[:2] == ["inputs", "inputs[].source"]
    assert all(name.startswith("inputs") for name in names)
    assert main(["schema", "pack.window"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert "no field `pakc`; did you mean `pack`?" in refused(capsys, "schema", "pakc")


# --- running


@pytest.fixture
def executed(workspace: str, builder: hand.Builder, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command line asks of the library; the answer is a finished run."""
    stage = {"stage": "pack", "writes": ["windows"], "seconds": 1.0, "tasks": 3, "skipped": False}
    asked: dict[str, Any] = {"outcome": Outcome(workspace, "inline", builder.snapshots, [stage], 2.5)}

    def execute(recipe: Any, **settings: Any) -> Outcome:
        asked["recipe"] = recipe
        asked.update(settings)
        return asked["outcome"]  # type: ignore[no-any-return]

    monkeypatch.setattr("curate.driver.execute.run_recipe", execute)
    return asked


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A recipe file."""
    place = tmp_path / "recipe.yaml"
    place.write_text("inputs: [{source: web, path: a.jsonl}]\n")
    return str(place)


def test_run_passes_everything_on(executed: dict[str, Any], recipe: str) -> None:
    options = [
        "--set",
        "pack.window=64",
        "seed=3",
        "--until",
        "pack",
        "--cpus",
        "2",
        "--address",
        "auto",
        "--sample",
        "0.5",
        "--allow-missing",
    ]
    assert main(["run", recipe, *options]) == 0
    assert (executed["recipe"].pack.window, executed["recipe"].seed) == (64, 3)
    wanted = {"stop_after": "pack", "cpus": 2, "address": "auto", "sample": 0.5, "allow_missing": True}
    assert {name: executed[name] for name in wanted} == wanted


def test_recipe_may_follow_the_changes(executed: dict[str, Any], recipe: str) -> None:
    assert main(["run", "--set", "seed=3", "pack.window=64", recipe]) == 0
    assert (executed["recipe"].pack.window, executed["recipe"].seed) == (64, 3)


def test_run_from_a_workspace(executed: dict[str, Any], workspace: str) -> None:
    assert main(["run", "--from", workspace, "--set", "pack.window=64"]) == 0
    recipe = executed["recipe"]
    assert (recipe.workspace, recipe.pack.window) == (workspace, 64)
    assert Path(recipe.inputs[0].path).resolve() == Path(workspace).parent / "in/web.jsonl"


def test_summary(executed: dict[str, Any], recipe: str, workspace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", recipe]) == 0
    printed = capsys.readouterr().out
    assert "done in 2.5 s with the inline engine\n33 tokens in 5 windows\n" in printed
    assert f"shards (parquet): {workspace}/shards/{'1' * 16}/{'2' * 16}/parquet (2 files, " in printed
    assert f"curate explain {workspace} ID" in printed
    executed["outcome"].stages[0]["skipped"] = True
    assert main(["run", recipe]) == 0
    assert "nothing to do: everything is there" in capsys.readouterr().out


def test_a_summary_that_fails_is_no_failure_of_the_run(
    executed: dict[str, Any], recipe: str, workspace: str, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    def gone(*given: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("curate.report.outcomes.summary_of", gone)
    assert main(["run", recipe]) == 0
    assert "the run is committed, but its summary could not be made (FileNotFoundError" in capsys.readouterr().err


def test_summary_as_json(executed: dict[str, Any], recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", recipe, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["event"], summary["funnel"]["kept"], summary["windows"], summary["unchanged"]) == (
        "done",
        4,
        5,
        False,
    )


# --- endings


def test_interrupt_exits_130_and_says_how_to_go_on(
    recipe: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def execute(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("curate.driver.execute.run_recipe", execute)
    assert main(["run", recipe]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_other_errors_keep_their_traceback(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("curate.driver.execute.run_recipe", execute)
    with pytest.raises(ZeroDivisionError):
        main(["run", recipe])


def test_closed_pipe_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "curate", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_interrupted_process_exits_130(tmp_path: Path) -> None:
    slow = "def schema(options):\n    print('ready', flush=True)\n    time.sleep(60)"
    code = f"import sys, time, curate.cli as c\n{slow}\nc.running.schema = schema\nsys.exit(c.main(['schema']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == "\nstopped\n"


# --- help


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"curate {__version__}\n"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse lays its help out differently from Python 3.13 on")
def test_documented_help_is_current() -> None:
    shown = cli_docs.blocks(cli_docs.PAGE.read_text(encoding="utf-8"))
    assert list(shown) == cli_docs.commands()
    for command, text in shown.items():
        assert text == cli_docs.help_of(command), (
            f"python -m tests.cli_docs writes the help of `curate {command}` into docs/cli.md"
        )
