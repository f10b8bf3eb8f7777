"""The commands that make a run: demo, init, check, run, submit, schema."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from curate.base.errors import RequestError
from curate.cli.shared import STAGES, AddCommand, add_set, output, positive

if TYPE_CHECKING:
    from curate.driver.execute import Outcome


def add(command: AddCommand) -> None:
    """Their arguments."""
    made = command(
        "demo", demo, "gather the text of your Python environment, write a recipe, run it, and show the result"
    )
    made.add_argument(
        "dir",
        metavar="DIR",
        nargs="?",
        default="curate-demo",
        help="folder for the corpus, the recipe and the run (default: ./curate-demo)",
    )
    made.add_argument("--cpus", type=positive, metavar="N", help="processors to use (default: all)")

    made = command(
        "init",
        init,
        "look at your files and write a commented recipe for them",
        "An existing recipe is never overwritten.",
    )
    made.add_argument("dir", metavar="DIR", help="folder in which recipe.yaml is written")
    made.add_argument(
        "--input",
        metavar="PATH",
        nargs="+",
        action="extend",
        required=True,
        help="files, folders or patterns; local or s3://bucket/…",
    )

    made = command(
        "check",
        check,
        "validate a recipe, open its inputs and print what a run would do",
        "Nothing is run and Ray is not started.",
    )
    made.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML file")
    add_set(made)
    made.add_argument("--until", metavar="STAGE", help=f"last stage: {STAGES.replace(' ', ', ')}")
    made.add_argument(
        "--documents",
        type=float,
        metavar="N",
        help="plan on paper for a corpus of N documents (1e10), whatever the inputs hold; the recipe may be left out",
    )
    made.add_argument(
        "--document-bytes",
        type=float,
        metavar="B",
        help="text of a document (4000; with --like, that of its documents)",
    )
    made.add_argument("--nodes", type=positive, default=1, metavar="N", help="nodes of the cluster (1)")
    made.add_argument("--node", default="m7i.8xlarge", metavar="TYPE", help="their type, or CORESxGIB (m7i.8xlarge)")
    made.add_argument(
        "--like",
        metavar="WORKSPACE",
        help="plan with what the run there has cost, as of a sample of the corpus, instead of what a release was measured with",
    )
    made.add_argument("--json", action="store_true", help="print the plan as JSON")

    made = command(
        "run",
        run,
        "run what is missing of a recipe",
        "What is there already is skipped, so that the same command goes on after an interruption.",
    )
    made.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML file")
    made.add_argument("--from", dest="workspace", metavar="WORKSPACE", help="take the recipe from a finished run")
    add_set(made)
    made.add_argument("--until", metavar="STAGE", help=f"last stage to run: {STAGES.replace(' ', ', ')}")
    made.add_argument("--cpus", type=positive, metavar="N", help="processors of a local Ray (default: all)")
    made.add_argument("--address", metavar="A", help="a running Ray cluster, as in ray://host:10001 or auto")
    made.add_argument(
        "--sample",
        type=float,
        metavar="SHARE",
        help="take this share of the documents, by hash, in a workspace of its own",
    )
    made.add_argument(
        "--allow-missing",
        action="store_true",
        help="go on when an input of an earlier run has gone: its documents leave",
    )
    made.add_argument(
        "--repack",
        action="store_true",
        help="decide again over all inputs together: old and new documents meet in the windows, and all shards change",
    )
    made.add_argument(
        "--refit",
        action="store_true",
        help="fit the tokenizer, the lexical model and the cells again, on the documents that are kept now",
    )
    made.add_argument("--json", action="store_true", help="print progress and the result as JSON, one object a line")

    made = command(
        "submit",
        submit,
        "run a recipe as a job on a Ray cluster; submitted again, it goes on",
        "Local paths must lie on a disk that all nodes share; the nodes have their own credentials. "
        "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH names the cluster's token.",
    )
    made.add_argument("recipe", metavar="RECIPE", help="a YAML file")
    made.add_argument("--address", metavar="URL", required=True, help="the cluster's Jobs API: http://HEAD:8265")
    add_set(made)
    made.add_argument("--until", metavar="STAGE", help=f"last stage: {STAGES.replace(' ', ', ')}")
    made.add_argument("--wait", action="store_true", help="follow the log until the job has ended")

    made = command("schema", schema, "print every recipe field with its type, default and meaning")
    made.add_argument("field", metavar="FIELD", nargs="?", help="only this field and those below it: pack")


def demo(options: argparse.Namespace) -> int:
    """``curate demo``."""
    from curate.tools.demo import prepare

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
    from curate.planning.check import DOCUMENT_BYTES, sections
    from curate.planning.check import check as look
    from curate.planning.costs import costs_of, shipped

    recipe, changes = _recipe_and_changes(options)
    like = costs_of(options.like) if options.like else None
    if options.documents is not None:
        from curate.driver.repeat import recipe_of
        from curate.planning import capacity

        if recipe is None and options.like:
            made = recipe_of(options.like, changes)
        else:
            made = as_recipe(recipe or {"inputs": [{"source": "any", "path": "s3://bucket/*.jsonl"}]}, changes)
        size = options.document_bytes or (None if like else DOCUMENT_BYTES)
        on_paper = capacity.capacity(made, options.documents, size, options.nodes, options.node, like or shipped())
        output(on_paper, capacity.sections, options.json)
        return 0
    if recipe is None:
        raise RequestError("name a recipe: `curate check RECIPE`")
    made = as_recipe(recipe, changes)
    output(look(made, options.until, costs=like), sections, options.json)
    return 0


def run(options: argparse.Namespace) -> int:
    """``curate run``."""
    recipe: Any
    recipe, changes = _recipe_and_changes(options)
    if (recipe is None) == (options.workspace is None):
        raise RequestError("name one recipe: `curate run RECIPE`, or `curate run --from WORKSPACE`")
    if options.workspace is not None:
        from curate.driver.repeat import recipe_of

        recipe, changes = recipe_of(options.workspace, changes), []
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
    from curate.report.render import console, show, table

    rows = rows_of(options.field)
    show([table("", ("field", "type", "default", "meaning"), rows, plain=not console().is_terminal, left=4)])
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
    from curate.inspect.run import Run
    from curate.report.summary import as_dict, sections

    summary = as_dict(Run(outcome.workspace, outcome.options), outcome, partial)
    if as_json:
        import json

        print(json.dumps({"event": "done", **summary}, ensure_ascii=False))
        return 0
    output(summary, sections, as_json=False)
    return 0
