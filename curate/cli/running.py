"""The commands that make a run and what it needs: demo, init, check, run, submit, schema, train-classifier."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from curate.base.errors import CurateError, RequestError
from curate.base.terminal import printable
from curate.cli.shared import STAGE_LIST, AddCommand, CommandParser, natural, output, positive

if TYPE_CHECKING:
    from curate.planning.costs import Costs


def add(command: AddCommand) -> None:
    """Add the commands to the parser."""
    parser = command(demo)
    folder = "folder for the corpus, the recipe and the run (default: ./curate-demo)"
    parser.value("dir", "DIR", folder, nargs="?", default="curate-demo")
    parser.value("--cpus", "N", "processors to use (default: all)", type=positive)

    parser = command(init)
    parser.value("dir", "DIR", "folder in which recipe.yaml is written")
    parser.values("--input", "PATH", "files, folders or patterns; local or s3://bucket/…", default=None, required=True)

    _add_check(command(check))
    _add_run(command(run))

    parser = command(submit).recipe()
    parser.value("--address", "URL", "the cluster's Jobs API: http://HEAD:8265 (default: RAY_ADDRESS)")
    parser.changes()
    parser.value("--until", "STAGE", f"last stage: {STAGE_LIST}")
    parser.values("--shared", "FOLDER", "folders that every node has: paths below them are used as they are")
    parser.flag("--wait", "follow the log until the job has ended")

    parser = command(schema)
    parser.value("field", "FIELD", "only this field and those below it: pack", nargs="?")

    _add_training(command(train_classifier))


def _add_check(parser: CommandParser) -> None:
    parser.recipe(nargs="?")
    parser.changes()
    parser.value("--until", "STAGE", f"last stage: {STAGE_LIST}")
    on_paper = "plan on paper for a corpus of N documents (1e10), whatever the inputs hold; the recipe may be left out"
    parser.value("--documents", "N", on_paper, type=float)
    parser.value("--document-bytes", "B", "text of a document (4000; with --like, that of its documents)", type=float)
    parser.value("--nodes", "N", "nodes of the cluster (1)", type=positive, default=1)
    parser.value("--node", "TYPE", "their type, or CORESxGIB (m7i.8xlarge)", default="m7i.8xlarge")
    sample = "as of a sample of the corpus, instead of those measured for the release"
    parser.value("--like", "WORKSPACE", f"plan with the costs of the run there, {sample}")
    seen = "from the beginnings of at most 64 files an input, by source and language, with examples"
    parser.flag("--preview", f"also show what the rules would remove, {seen}")
    parser.flag("--json", "print the plan as JSON")


def _add_run(parser: CommandParser) -> None:
    parser.recipe(nargs="?")
    parser.value("--from", "WORKSPACE", "take the recipe from a finished run", dest="workspace")
    parser.changes()
    parser.value("--until", "STAGE", f"last stage to run: {STAGE_LIST}")
    parser.value("--cpus", "N", "processors of a local Ray (default: all)", type=positive)
    parser.value("--address", "A", "a running Ray cluster, as in ray://host:10001 or auto")
    sample = "take this share of the documents, by hash, in a workspace of its own"
    parser.value("--sample", "SHARE", sample, type=float)
    parser.flag("--allow-missing", "go on when an input of an earlier run has gone: its documents leave")
    together = "old and new documents meet in the windows, and all shards change"
    parser.flag("--repack", f"decide again over all inputs together: {together}")
    models = "the tokenizer, the lexical model and the cells"
    parser.flag("--refit", f"fit {models} again, on the documents that are kept now")
    parser.flag("--json", "print progress and the result as JSON, one object a line")


def _add_training(parser: CommandParser) -> None:
    parser.values("--positive", "PATH", "texts worth keeping")
    parser.values("--negative", "PATH", "texts of the other kind")
    instead = "instead of --positive (label hq) and --negative (label lq)"
    parser.values("--label", "NAME=PATH", f"texts of any label, {instead}", dest="labels")
    parser.value("-o --output", "MODEL", "the .bin file to write", required=True)
    parser.value("--score", "NAME", "the label whose probability is the score (default: hq)")
    parser.value("--sample", "PATH", "texts to take the thresholds from", nargs="+", default=[])
    parser.value("--keep", "SHARE", "share of the sample to keep: prints its min_score", type=float)
    parser.value("--text-field", "F", "field that holds the text (default: text)", default="text")
    parser.value("--epochs", "N", "passes over the texts (default: 5)", type=positive, default=5)
    parser.value("--learning-rate", "R", "learning rate (default: 1; 0.1 for 10⁵ texts)", type=float, default=1.0)
    parser.value("--dim", "N", "dimensions of a word (default: 100)", type=positive, default=100)
    parser.value("--ngrams", "N", "longest word n-gram (default: 2)", type=positive, default=2)
    parser.value("--seed", "N", "seed of the training (default: 0)", type=natural, default=0)
    parser.flag("--json", "print the result as JSON")


def demo(options: argparse.Namespace) -> int:
    """Gather the text of your Python environment, write a recipe, run it, and show the result."""
    from curate.tools.init import prepare

    recipe = prepare(options.dir, say=lambda text: print(printable(text), file=sys.stderr))
    return _run(str(recipe), cpus=options.cpus)


def init(options: argparse.Namespace) -> int:
    """Look at your files, write a commented recipe for them, and show what its rules would remove.

    Each folder and sort of file becomes a source; some files of each are looked at. An existing recipe is never
    overwritten.
    """
    from curate.planning.preview import preview
    from curate.recipe.file import load
    from curate.report.preview import preview as sections
    from curate.report.statistics import show
    from curate.tools.init import write_recipe

    path, notes = write_recipe(options.dir, options.input)
    print(printable("\n".join([*notes, f"wrote {path}\n"])), flush=True)
    show(sections(preview(load(path))))
    print(printable(f"\nnext: curate check {path}, then curate run {path}"))
    return 0


def check(options: argparse.Namespace) -> int:
    """Validate a recipe, open its inputs and print what a run would do.

    Nothing is run and Ray is not started.
    """
    from curate.api import as_recipe
    from curate.planning.check import check as plan_of
    from curate.planning.costs import costs_of
    from curate.planning.preview import preview as preview_of
    from curate.report.outcomes import plan

    source, changes = _recipe_and_changes(options)
    like = costs_of(options.like) if options.like else None
    if options.documents is not None:
        if options.preview:
            raise RequestError("--preview looks at the inputs, --documents plans without them; give one of the two")
        return _check_on_paper(options, source, changes, like)
    if source is None:
        raise RequestError("name a recipe: `curate check RECIPE`")
    recipe = as_recipe(source, changes)
    found = plan_of(recipe, options.until, costs=like)
    if options.preview:
        found["preview"] = preview_of(recipe)
    return output(found, plan, options.json)


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
    """Run what is missing of a recipe.

    Finished stages are skipped, so that the same command goes on after an interruption.
    """
    recipe: Any
    recipe, changes = _recipe_and_changes(options)
    if (recipe is None) == (options.workspace is None):
        raise RequestError("name one recipe: `curate run RECIPE`, or `curate run --from WORKSPACE`")
    if options.workspace is not None:
        from curate.inspect.reader import stored_recipe

        recipe, changes = stored_recipe(options.workspace, changes), []
    names = ("cpus", "address", "sample", "allow_missing", "repack", "refit")
    settings = {name: getattr(options, name) for name in names}
    return _run(recipe, changes, options.json, options.until, **settings)


def _run(
    recipe: Any, changes: Sequence[str] = (), as_json: bool = False, until: str | None = None, **settings: Any
) -> int:
    """Run a recipe with the settings of :func:`curate.run`, and print what came of it."""
    from curate.api import as_recipe
    from curate.driver.execute import run_recipe
    from curate.engine.progress import choose_progress
    from curate.finished_run import Run
    from curate.report.outcomes import summary, summary_of

    recipe = as_recipe(recipe, changes)
    progress = choose_progress(as_json)
    try:
        outcome = run_recipe(recipe, stop_after=until, progress=progress, **settings)
    finally:
        progress.close()
    try:
        found = summary_of(Run(outcome.workspace, outcome.options), outcome, until)
        if as_json:
            print(printable(json.dumps({"event": "done", **found}, ensure_ascii=False)))
            return 0
        return output(found, summary, as_json=False)
    except BrokenPipeError:
        raise
    except (CurateError, OSError, ValueError, KeyError) as error:
        # The run is committed: what goes wrong in telling of it is no failure of the run.
        if as_json:
            print(json.dumps({"event": "done", "workspace": outcome.workspace}))
        what = f"the run is committed, but its summary could not be made ({type(error).__name__}: {error})"
        print(printable(f"{what}; look with `curate stats {outcome.workspace}`"), file=sys.stderr)
        return 0


def submit(options: argparse.Namespace) -> int:
    """Run a recipe as a job on a Ray cluster; submitted again, it goes on.

    Local files that the recipe names travel with the job, up to 100 MB; inputs and workspace are s3:// URLs or below a
    folder that every node has. The nodes have their own credentials. RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH names the
    cluster's token.
    """
    import os

    from curate.api import as_recipe
    from curate.driver.jobs import submit as start
    from curate.driver.plan import stages, until

    recipe = as_recipe(options.recipe, options.changes)
    until(stages(), options.until)
    address = options.address or os.environ.get("RAY_ADDRESS", "")
    if not address:
        raise RequestError("name the cluster: --address http://HEAD:8265, or set RAY_ADDRESS to that")
    say = partial(print, flush=True)
    job = start(recipe, address, until=options.until, shared=options.shared, wait=options.wait, say=say)
    print(f"job {job.id}: {job.status}")
    if not options.wait:
        print("the same command with --wait follows it")
    return 0


def schema(options: argparse.Namespace) -> int:
    """Print every recipe field with its type, default and meaning."""
    from curate.recipe.file import rows_of
    from curate.report.statistics import Table, show

    show([Table("", ("field", "type", "default", "meaning"), rows_of(options.field), 4)])
    return 0


def train_classifier(options: argparse.Namespace) -> int:
    """Train a fastText quality classifier and measure it on texts that are held out.

    The same texts and options give the same model.
    """
    from pathlib import Path

    from curate.quality.training import TrainingOptions
    from curate.report.outcomes import trained
    from curate.tools.init import train_classifier as train

    given = [("hq", path) for path in options.positive] + [("lq", path) for path in options.negative]
    for text in options.labels:
        name, _, path = text.partition("=")
        if not name or not path or not name.replace("_", "").isalnum():
            raise RequestError(f"--label {text}: write NAME=PATH, as in --label 5=good/*.jsonl")
        given.append((name, path))
    places: dict[str, list[str]] = {}
    for name, path in given:
        places.setdefault(name, []).append(path)
    if options.keep is not None and not 0 < options.keep <= 1:
        raise RequestError(f"--keep {options.keep:g}: a share is above 0 and at most 1")
    if not 0 < options.learning_rate <= 10:
        raise RequestError(f"--learning-rate {options.learning_rate:g}: it is above 0 and at most 10")
    names = ("dim", "epochs", "learning_rate", "ngrams", "seed")
    settings = TrainingOptions(**{name: getattr(options, name) for name in names})
    label = options.score or ("hq" if "hq" in places else max(places, default="hq"))
    result = train(
        places,
        Path(options.output),
        settings,
        label=label,
        text_field=options.text_field,
        sample=options.sample,
        keep=options.keep,
    )
    return output(result, trained, options.json)


def _recipe_and_changes(options: argparse.Namespace) -> tuple[str | None, list[str]]:
    """The recipe and the changes; a recipe written after ``--set a.b=c`` is not a change."""
    recipe, changes = options.recipe, list(options.changes)
    if recipe is None:
        others = [change for change in changes if "=" not in change]
        if len(others) == 1:
            recipe = others[0]
            changes.remove(recipe)
    return recipe, changes
