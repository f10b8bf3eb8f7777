"""The commands that make a run: demo, init, check, run, submit, schema."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from curate.base.errors import RequestError
from curate.cli.shared import STAGE_LIST, AddCommand, add_set, output, positive

if TYPE_CHECKING:
    from curate.driver.execute import Outcome
    from curate.planning.costs import Costs


def add(command: AddCommand) -> None:
    """Add the commands to the parser."""
    _add_recipes(command)
    _add_runs(command)


def _add_recipes(command: AddCommand) -> None:
    """Commands that make or check a recipe: demo, init, check."""
    parser = command(
        "demo", demo, "gather the text of your Python environment, write a recipe, run it, and show the result"
    )
    parser.add_argument(
        "dir",
        metavar="DIR",
        nargs="?",
        default="curate-demo",
        help="folder for the corpus, the recipe and the run (default: ./curate-demo)",
    )
    parser.add_argument("--cpus", type=positive, metavar="N", help="processors to use (default: all)")

    parser = command(
        "init",
        init,
        "look at your files and write a commented recipe for them",
        "An existing recipe is never overwritten.",
    )
    parser.add_argument("dir", metavar="DIR", help="folder in which recipe.yaml is written")
    parser.add_argument(
        "--input",
        metavar="PATH",
        nargs="+",
        action="extend",
        required=True,
        help="files, folders or patterns; local or s3://bucket/…",
    )

    parser = command(
        "check",
        check,
        "validate a recipe, open its inputs and print what a run would do",
        "Nothing is run and Ray is not started.",
    )
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML file")
    add_set(parser)
    parser.add_argument("--until", metavar="STAGE", help=f"last stage: {STAGE_LIST}")
    parser.add_argument(
        "--documents",
        type=float,
        metavar="N",
        help="plan on paper for a corpus of N documents (1e10), whatever the inputs hold; the recipe may be left out",
    )
    parser.add_argument(
        "--document-bytes",
        type=float,
        metavar="B",
        help="text of a document (4000; with --like, that of its documents)",
    )
    parser.add_argument("--nodes", type=positive, default=1, metavar="N", help="nodes of the cluster (1)")
    parser.add_argument("--node", default="m7i.8xlarge", metavar="TYPE", help="their type, or CORESxGIB (m7i.8xlarge)")
    parser.add_argument(
        "--like",
        metavar="WORKSPACE",
        help="plan with the costs of the run there, as of a sample of the corpus, instead of those measured for the release",
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def _add_runs(command: AddCommand) -> None:
    """Commands that run a recipe: run, submit; and schema."""
    parser = command(
        "run",
        run,
        "run what is missing of a recipe",
        "Finished stages are skipped, so that the same command goes on after an interruption.",
    )
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML file")
    parser.add_argument("--from", dest="workspace", metavar="WORKSPACE", help="take the recipe from a finished run")
    add_set(parser)
    parser.add_argument("--until", metavar="STAGE", help=f"last stage to run: {STAGE_LIST}")
    parser.add_argument("--cpus", type=positive, metavar="N", help="processors of a local Ray (default: all)")
    parser.add_argument("--address", metavar="A", help="a running Ray cluster, as in ray://host:10001 or auto")
    parser.add_argument(
        "--sample",
        type=float,
        metavar="SHARE",
        help="take this share of the documents, by hash, in a workspace of its own",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="go on when an input of an earlier run has gone: its documents leave",
    )
    parser.add_argument(
        "--repack",
        action="store_true",
        help="decide again over all inputs together: old and new documents meet in the windows, and all shards change",
    )
    parser.add_argument(
        "--refit",
        action="store_true",
        help="fit the tokenizer, the lexical model and the cells again, on the documents that are kept now",
    )
    parser.add_argument("--json", action="store_true", help="print progress and the result as JSON, one object a line")

    parser = command(
        "submit",
        submit,
        "run a recipe as a job on a Ray cluster; submitted again, it goes on",
        "Local paths must lie on a disk that all nodes share; the nodes have their own credentials. "
        "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH names the cluster's token.",
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file")
    parser.add_argument("--address", metavar="URL", required=True, help="the cluster's Jobs API: http://HEAD:8265")
    add_set(parser)
    parser.add_argument("--until", metavar="STAGE", help=f"last stage: {STAGE_LIST}")
    parser.add_argument("--wait", action="store_true", help="follow the log until the job has ended")

    parser = command("schema", schema, "print every recipe field with its type, default and meaning")
    parser.add_argument("field", metavar="FIELD", nargs="?", help="only this field and those below it: pack")


def demo(options: argparse.Namespace) -> int:
    """``curate demo``."""
    from curate.tools.init import prepare

    recipe = prepare(options.dir, say=lambda text: print(text, file=sys.stderr))
    outcome = _execute(str(recipe), options.cpus)
    return _conclude(outcome)


def init(options: argparse.Namespace) -> int:
    """``curate init``."""
    from curate.tools.init import write_recipe

    path, notes = write_recipe(options.dir, options.input)
    for note in notes:
        print(note)
    print(f"wrote {path}\nnext: curate check {path}, then curate run {path}")
    return 0


def check(options: argparse.Namespace) -> int:
    """``curate check``."""
    from curate.api import as_recipe
    from curate.planning.check import check as plan_of
    from curate.planning.costs import costs_of
    from curate.report.outcomes import plan

    source, changes = _recipe_and_changes(options)
    like = costs_of(options.like) if options.like else None
    if options.documents is not None:
        return _check_on_paper(options, source, changes, like)
    if source is None:
        raise RequestError("name a recipe: `curate check RECIPE`")
    return output(plan_of(as_recipe(source, changes), options.until, costs=like), plan, options.json)


def _check_on_paper(options: argparse.Namespace, source: str | None, changes: list[str], like: Costs | None) -> int:
    from curate.api import as_recipe
    from curate.inspect.reader import stored_recipe
    from curate.planning.check import DOCUMENT_BYTES, capacity
    from curate.planning.costs import shipped
    from curate.report.outcomes import capacity as sections

    if source is None and options.like:
        recipe = stored_recipe(options.like, changes)
    else:
        recipe = as_recipe(source or {"inputs": [{"source": "any", "path": "s3://bucket/*.jsonl"}]}, changes)
    size = options.document_bytes or (None if like else DOCUMENT_BYTES)
    plan = capacity(recipe, options.documents, size, options.nodes, options.node, like or shipped())
    return output(plan, sections, options.json)


def run(options: argparse.Namespace) -> int:
    """``curate run``."""
    recipe: Any
    recipe, changes = _recipe_and_changes(options)
    if (recipe is None) == (options.workspace is None):
        raise RequestError("name one recipe: `curate run RECIPE`, or `curate run --from WORKSPACE`")
    if options.workspace is not None:
        from curate.inspect.reader import stored_recipe

        recipe, changes = stored_recipe(options.workspace, changes), []
    outcome = _execute(
        recipe,
        options.cpus,
        changes=changes,
        until=options.until,
        address=options.address,
        sample=options.sample,
        allow_missing=options.allow_missing,
        repack=options.repack,
        refit=options.refit,
        as_json=options.json,
    )
    return _conclude(outcome, as_json=options.json, partial=options.until)


def submit(options: argparse.Namespace) -> int:
    """``curate submit``."""
    from curate.api import as_recipe
    from curate.driver.jobs import submit as start
    from curate.driver.plan import stages, until

    recipe = as_recipe(options.recipe, options.changes)
    until(stages(), options.until)
    job = start(
        recipe, options.address, until=options.until, wait=options.wait, say=lambda text: print(text, flush=True)
    )
    print(f"job {job.id}: {job.status}")
    if not options.wait:
        print("the same command with --wait follows it")
    return 0


def schema(options: argparse.Namespace) -> int:
    """``curate schema``."""
    from curate.recipe.file import rows_of
    from curate.report.statistics import Table, show

    show([Table("", ("field", "type", "default", "meaning"), rows_of(options.field), 4)])
    return 0


def _recipe_and_changes(options: argparse.Namespace) -> tuple[str | None, list[str]]:
    """The recipe and the changes; a recipe written after ``--set a.b=c`` is not a change."""
    recipe, changes = options.recipe, list(options.changes)
    if recipe is None:
        others = [change for change in changes if "=" not in change]
        if len(others) == 1:
            recipe = others[0]
            changes.remove(recipe)
    return recipe, changes


def _execute(recipe: Any, cpus: int | None, *, as_json: bool = False, **settings: Any) -> Outcome:
    from curate.api import as_recipe, execute

    recipe = as_recipe(recipe, settings.pop("changes", ()))
    from curate.engine.progress import choose_progress

    progress = choose_progress(as_json)
    try:
        return execute(recipe, cpus=cpus, progress=progress, **settings)
    finally:
        progress.close()


def _conclude(outcome: Outcome, *, as_json: bool = False, partial: str | None = None) -> int:
    from curate.finished_run import Run
    from curate.report.outcomes import summary, summary_of

    found = summary_of(Run(outcome.workspace, outcome.options), outcome, partial)
    if as_json:
        print(json.dumps({"event": "done", **found}, ensure_ascii=False))
        return 0
    return output(found, summary, as_json=False)
