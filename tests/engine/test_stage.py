"""Stages: done tasks are not run again, failures are named, nothing half-done is seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pytest

from curate.base.errors import StageFailed
from curate.engine import stage as stage_module
from curate.engine.context import JobPlace, Record, TaskContext
from curate.engine.engines import InlineEngine
from curate.engine.progress import Progress
from curate.engine.stage import Stage, StageRun
from curate.engine.task import PLACE, Task, run_job
from curate.recipe import Recipe
from curate.storage.local import LocalStorage

RECIPE = Recipe.model_validate({"inputs": [{"source": "a", "path": "x.jsonl"}]})


@dataclass(frozen=True, kw_only=True)
class NumberTask(Task):
    """Writes one row; fails once where ``flag`` is a path that does not exist yet."""

    grows_with = "fixed"

    number: int
    flag: str = field(default="", metadata=PLACE)

    def work(self, context: TaskContext) -> None:
        path = Path(self.flag) if self.flag else None
        if path is not None and not path.exists():
            path.touch()
            raise OSError("the disk hiccups")
        if self.number == 13:
            raise ValueError("13 is not liked")
        context.write("numbers", pa.table({"doc_id": pa.array([self.number], pa.uint64())}))
        context.count("rows")
        context.value("double", 2 * self.number)


@dataclass(frozen=True, kw_only=True)
class SameTask(Task):
    """Writes the same bytes, whatever its parameter."""

    grows_with = "fixed"

    number: int

    def work(self, context: TaskContext) -> None:
        local = context.scratch_file()
        local.write_bytes(b"same")
        context.add("tmp/same", self.name, ".bin", local, 1)


def numbers(*given: int) -> list[NumberTask]:
    return [NumberTask(name=f"part-{number}", number=number) for number in given]


STAGE = Stage("numbers", 1, (), ("numbers",), lambda recipe: None, lambda run: None)


def stage_run(folder) -> StageRun:
    run = StageRun(RECIPE, LocalStorage(folder), InlineEngine(), {}, STAGE, "stagekey", Progress(), None)
    run.identify()
    return run


def test_tasks_that_are_done_are_not_run_again(tmp_path):
    first = stage_run(tmp_path)
    step = first.step("numbers", numbers(0, 1, 2))
    assert (first.tasks_run, step.counters, step.values("double")) == (3, {"rows": 3}, [0, 2, 4])
    second = stage_run(tmp_path)
    again = second.step("numbers", numbers(0, 1, 2, 3))
    assert second.tasks_run == 1
    assert again.files("numbers")[:3] == step.files("numbers")


def test_only_what_passes_between_steps_is_made_again_in_another_format_version(tmp_path, monkeypatch):
    def tasks_run(home: str) -> int:
        run = stage_run(tmp_path)
        run.step(home, numbers(1))
        return run.tasks_run

    assert (tasks_run("tmp/numbers"), tasks_run("numbers")) == (1, 1)
    assert (tasks_run("tmp/numbers"), tasks_run("numbers")) == (0, 0)
    monkeypatch.setattr(stage_module, "TMP_VERSION", stage_module.TMP_VERSION + 1)
    assert (tasks_run("tmp/numbers"), tasks_run("numbers")) == (1, 0)


def test_a_task_whose_input_changed_runs_again_beside_the_old_one(tmp_path):
    [task] = numbers(1)
    before = stage_run(tmp_path).step("numbers", [task]).files("numbers")
    after = stage_run(tmp_path).step("numbers", [replace(task, number=2)]).files("numbers")
    assert before[0].path != after[0].path
    assert (tmp_path / before[0].path).exists()


def test_an_intermediate_table_of_equal_files_elsewhere_is_read_from_there(tmp_path):
    run, paths = stage_run(tmp_path), []
    for number in (1, 2):
        table = run.publish("tmp/same", run.step("tmp/same", [SameTask(name="part-0", number=number)]))
        reader = TaskContext(JobPlace("reader", "key", "tmp/read", "stage", run.storage))
        paths += [file.path for file in reader.snapshot(table.ref).files]
        run.storage.delete_tree(f"tmp/{run.stage_key}")
    assert len(set(paths)) == 2


def test_a_transient_failure_is_tried_again(tmp_path):
    run = stage_run(tmp_path)
    step = run.step("numbers", [NumberTask(name="part-0", number=1, flag=str(tmp_path / "flag"))])
    assert run.tasks_run == 2
    assert step.counters == {"rows": 1}


def test_only_a_task_that_ran_out_of_memory_asks_for_more(tmp_path, monkeypatch):
    asked: list[tuple[str, int]] = []
    said: list[str] = []
    faults = {"a": [MemoryError(), MemoryError()], "b": [OSError("reset"), TimeoutError()]}

    class Engine(InlineEngine):
        def run(self, jobs):
            for job in jobs:
                asked.append((job.name, job.task.memory))
                errors = faults[job.name]
                monkeypatch.setattr(NumberTask, "work", raiser(errors.pop(0)) if errors else work)
                yield run_job(job)

    def raiser(error):
        def fail(self, context):
            raise error

        return fail

    work = NumberTask.work
    run = stage_run(tmp_path)
    run.engine, run.progress.say = Engine(), said.append
    run.step("numbers", [NumberTask(name=name, number=1, memory=3 << 29) for name in "ab"])
    base = 3 << 29
    assert [memory for name, memory in asked if name == "a"] == [base, 2 * base, 4 * base]
    assert [memory for name, memory in asked if name == "b"] == [base] * 3
    assert said[0] == "numbers (numbers): a ran out of memory; again, with 3.2 GB"


def test_a_failing_task_is_named_and_the_others_stay(tmp_path):
    tasks = numbers(12, 13, 14)
    with pytest.raises(StageFailed, match=r"1 of 3 tasks failed.*\n.*part-13: ValueError: 13 is not liked"):
        stage_run(tmp_path).step("numbers", tasks)
    again = stage_run(tmp_path)
    with pytest.raises(StageFailed):
        again.step("numbers", tasks)
    assert again.tasks_run == 1


def test_no_snapshot_no_table(tmp_path):
    run = stage_run(tmp_path)
    step = run.step("numbers", numbers(1))
    assert stage_run(tmp_path).committed() is None
    run.commit("numbers", step.files("numbers"), step.counters, {"fact": 1})
    found = stage_run(tmp_path).committed()
    assert found is not None
    assert found["numbers"].rows == 1
    assert found["numbers"].details == {"fact": 1}
    assert found["numbers"].content == run.tables["numbers"].content


def test_records_survive_their_text_form():
    record = Record("n", "k", {}, {"a": 1}, {"v": [1, 2]}, 0.5)
    assert Record.from_json(record.to_json()) == record


def test_scratch_is_empty_after_a_failure(tmp_path):
    with pytest.raises(StageFailed):
        stage_run(tmp_path).step("numbers", numbers(13))
    assert list((tmp_path / "tmp" / "scratch").glob("*")) == [] if (tmp_path / "tmp" / "scratch").exists() else True


def test_what_tasks_used_is_summed_by_their_kind(tmp_path):
    run = stage_run(tmp_path)
    run.step("numbers", numbers(1, 2))
    assert {name: used.tasks for name, used in run.usage.items()} == {"NumberTask": 2}
