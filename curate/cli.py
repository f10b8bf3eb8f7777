"""The command line: each command is a few lines over one function of the library, imported when it is used.

Exit codes: 0 done; 1 failed while running, or ``verify`` found a fault; 2 the request was wrong; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any

from curate import __version__
from curate.errors import CurateError, RequestError

if TYPE_CHECKING:
    from curate.run.execute import Outcome

STAGES = "ingest quality dedup tokenize embed cluster order upsample pack shards ledger"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except CurateError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(interrupted(options.command), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would flush stdout once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def interrupted(command: str) -> str:
    """What is said after Ctrl-C."""
    if command in ("run", "demo"):
        return "\nstopped; what is finished is kept, and the same command goes on from there"
    return "\nstopped"


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="curate",
        description="From raw text to ordered, packed, long-context training shards, every token and every removal explained.",
    )
    parser.add_argument("--version", action="version", version=f"curate {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def command(
        name: str, function: Callable[[argparse.Namespace], int], summary: str, more: str = ""
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=summary, description=(summary[0].upper() + summary[1:] + ". " + more).strip()
        )
        made.set_defaults(run=function)
        return made

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
    made.add_argument("--cpus", type=_positive, metavar="N", help="processors to use (default: all)")

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
    _add_set(made)
    made.add_argument("--until", metavar="STAGE", help=f"last stage: {STAGES.replace(' ', ', ')}")
    made.add_argument("--json", action="store_true", help="print the plan as JSON")

    made = command(
        "run",
        run,
        "run what is missing of a recipe",
        "What is there already is skipped, so that the same command goes on after an interruption.",
    )
    made.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML file")
    made.add_argument("--from", dest="workspace", metavar="WORKSPACE", help="take the recipe from a finished run")
    _add_set(made)
    made.add_argument("--until", metavar="STAGE", help=f"last stage to run: {STAGES.replace(' ', ', ')}")
    made.add_argument("--cpus", type=_positive, metavar="N", help="processors of a local Ray (default: all)")
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
    made.add_argument("--json", action="store_true", help="print progress and the result as JSON, one object a line")

    made = command(
        "train-classifier",
        train_classifier,
        "train a fastText quality classifier and measure it on texts that are held out",
        "The same texts and options give the same model.",
    )
    made.add_argument("--positive", metavar="PATH", nargs="+", action="extend", default=[], help="texts worth keeping")
    made.add_argument(
        "--negative", metavar="PATH", nargs="+", action="extend", default=[], help="texts of the other kind"
    )
    made.add_argument(
        "--label",
        dest="labels",
        metavar="NAME=PATH",
        nargs="+",
        action="extend",
        default=[],
        help="texts of any label, instead of --positive (label hq) and --negative (label lq)",
    )
    made.add_argument("-o", "--output", metavar="MODEL", required=True, help="the .bin file to write")
    made.add_argument("--score", metavar="NAME", help="the label whose probability is the score (default: hq)")
    made.add_argument("--sample", metavar="PATH", nargs="+", default=[], help="texts to take the thresholds from")
    made.add_argument("--keep", type=float, metavar="SHARE", help="share of the sample to keep: prints its min_score")
    made.add_argument("--text-field", metavar="F", default="text", help="field that holds the text (default: text)")
    made.add_argument("--epochs", type=_positive, default=5, metavar="N", help="passes over the texts (default: 5)")
    made.add_argument(
        "--learning-rate", type=float, default=1.0, metavar="R", help="learning rate (default: 1; 0.1 for 10⁵ texts)"
    )
    made.add_argument("--dim", type=_positive, default=100, metavar="N", help="dimensions of a word (default: 100)")
    made.add_argument("--ngrams", type=_positive, default=2, metavar="N", help="longest word n-gram (default: 2)")
    made.add_argument("--seed", type=_natural, default=0, metavar="N", help="seed of the training (default: 0)")
    made.add_argument("--json", action="store_true", help="print the result as JSON")

    command("schema", schema, "print every recipe field with its type, default and meaning")

    made = command("stats", stats, "show what went in, what was removed and why, and what came out")
    _add_workspace(made)
    made.add_argument("--json", action="store_true", help="print the numbers as JSON")

    made = command("explain", explain, "show what became of one document, and why")
    _add_workspace(made)
    made.add_argument("id", metavar="ID", help="the document's id or doc_id; all matches are shown")
    made.add_argument("--json", action="store_true", help="print the findings as JSON")

    made = command(
        "sample",
        sample,
        "show some documents with what became of them",
        "The same documents every time, chosen by hash.",
    )
    _add_workspace(made)
    made.add_argument(
        "--removed-by",
        metavar="R",
        help="only documents removed by this reason (gopher_quality.gopher_short_doc), rule set, stage, or `any`",
    )
    made.add_argument("--source", metavar="S", help="only documents of this source")
    made.add_argument("--n", type=_positive, default=5, metavar="N", help="documents to show (default: 5)")
    made.add_argument("--json", action="store_true", help="print them as JSON")

    made = command(
        "lookup",
        lookup,
        "show which kept documents are like a new text, with their true similarity",
        "Signatures are read part by part, and the texts of candidates alone.",
    )
    _add_workspace(made)
    made.add_argument("file", metavar="FILE", help="a text file in UTF-8, or - for standard input")
    made.add_argument("--json", action="store_true", help="print the matches as JSON")

    made = command(
        "substrings",
        substrings,
        "report exact substrings that occur more than once among the documents left after deduplication",
        "Tokens are read twice for every 64 million of them; nothing is changed.",
    )
    _add_workspace(made)
    made.add_argument(
        "--tokens", type=_positive, default=50, metavar="N", help="tokens of the shortest substring (default: 50)"
    )
    made.add_argument("--json", action="store_true", help="print the report as JSON")

    made = command(
        "clusters",
        clusters,
        "show what lies in the clusters of related documents: size, scores, terms, examples",
        "The numbers of those to leave out go into quality.drop_clusters.",
    )
    _add_workspace(made)
    made.add_argument("--n", type=_positive, default=20, metavar="N", help="clusters to show (default: 20)")
    made.add_argument("--by", choices=("size", "tokens", "score"), default="size", help="which first (default: size)")
    made.add_argument("--json", action="store_true", help="print them as JSON")

    made = command(
        "verify", verify, "check every file, count and token of a finished run", "Reads everything; changes nothing."
    )
    _add_workspace(made)
    made.add_argument("--json", action="store_true", help="print the report as JSON")

    made = command("clean", clean, "list, then remove, files that no kept state of the workspace uses")
    _add_workspace(made)
    made.add_argument(
        "--keep", type=_natural, default=0, metavar="N", help="also keep this many former states (default: 0)"
    )
    made.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")
    return parser


def _add_workspace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workspace", metavar="WORKSPACE", help="a finished run: a folder or s3://bucket/prefix")


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="changes",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="change fields of the recipe: pack.window=4096",
    )


def _positive(text: str) -> int:
    value = _natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _natural(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


# --- commands


def demo(options: argparse.Namespace) -> int:
    """``curate demo``."""
    from curate.look.demo import prepare

    recipe = prepare(options.dir, say=lambda text: print(text, file=sys.stderr))
    outcome = _execute(str(recipe), options.cpus)
    return _conclude(outcome)


def init(options: argparse.Namespace) -> int:
    """``curate init``."""
    from curate.look.init import write_recipe

    path, notes = write_recipe(options.dir, options.input)
    for note in notes:
        print(note)
    print(f"wrote {path}\nnext: curate check {path}, then curate run {path}")
    return 0


def check(options: argparse.Namespace) -> int:
    """``curate check``."""
    from curate.api import as_recipe
    from curate.look.check import check as look
    from curate.look.check import sections

    recipe, changes = _recipe_and_changes(options)
    if recipe is None:
        raise RequestError("name a recipe: `curate check RECIPE`")
    plan = look(as_recipe(recipe, changes), options.until)
    _output(plan, sections, options.json)
    return 0


def run(options: argparse.Namespace) -> int:
    """``curate run``."""
    recipe: Any
    recipe, changes = _recipe_and_changes(options)
    if (recipe is None) == (options.workspace is None):
        raise RequestError("name one recipe: `curate run RECIPE`, or `curate run --from WORKSPACE`")
    if options.workspace is not None:
        from curate.look.repeat import recipe_of

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
        as_json=options.json,
    )
    return _conclude(outcome, as_json=options.json, partial=options.until)


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
    from curate.run.progress import choose_progress

    progress = choose_progress(as_json)
    try:
        return execute(recipe, cpus=cpus, progress=progress, **settings)
    finally:
        progress.close()


def _conclude(outcome: Outcome, *, as_json: bool = False, partial: str | None = None) -> int:
    from curate.look.run import Run
    from curate.look.summary import as_dict, sections

    summary = as_dict(Run(outcome.workspace), outcome, partial)
    if as_json:
        import json

        print(json.dumps({"event": "done", **summary}, ensure_ascii=False))
        return 0
    _output(summary, sections, as_json=False)
    return 0


def train_classifier(options: argparse.Namespace) -> int:
    """``curate train-classifier``."""
    from pathlib import Path

    from curate.look.train import sections
    from curate.look.train import train_classifier as train
    from curate.quality.training import TrainingOptions

    places: dict[str, list[str]] = {}
    given = [("hq", path) for path in options.positive] + [("lq", path) for path in options.negative]
    for text in options.labels:
        name, _, path = text.partition("=")
        if not name or not path or not name.replace("_", "").isalnum():
            raise RequestError(f"--label {text}: write NAME=PATH, as in --label 5=good/*.jsonl")
        given.append((name, path))
    for name, path in given:
        places.setdefault(name, []).append(path)
    if options.keep is not None and not 0 < options.keep <= 1:
        raise RequestError(f"--keep {options.keep:g}: a share is above 0 and at most 1")
    if not 0 < options.learning_rate <= 10:
        raise RequestError(f"--learning-rate {options.learning_rate:g}: it is above 0 and at most 10")
    settings = TrainingOptions(
        dim=options.dim,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        ngrams=options.ngrams,
        seed=options.seed,
    )
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
    _output(result, sections, options.json)
    return 0


def schema(options: argparse.Namespace) -> int:
    """``curate schema``."""
    from curate.look.render import console, show, table
    from curate.recipe_file import field_rows

    show([table("", ("field", "type", "default", "meaning"), field_rows(), plain=not console().is_terminal, left=4)])
    return 0


def stats(options: argparse.Namespace) -> int:
    """``curate stats``."""
    from curate.api import open_run
    from curate.look.render import sections

    _output(open_run(options.workspace).stats(), sections, options.json)
    return 0


def explain(options: argparse.Namespace) -> int:
    """``curate explain``."""
    from curate.api import open_run
    from curate.look.explain import sections

    found = open_run(options.workspace).explain(options.id)
    _output([one.as_dict() for one in found], sections, options.json)
    return 0


def sample(options: argparse.Namespace) -> int:
    """``curate sample``."""
    from curate.api import open_run
    from curate.look.sample import sections

    found = open_run(options.workspace).sample(options.removed_by, options.source, options.n)
    _output([one.as_dict() for one in found], sections, options.json)
    return 0


def lookup(options: argparse.Namespace) -> int:
    """``curate lookup``."""
    from curate.api import open_run
    from curate.look.lookup import sections

    found = open_run(options.workspace).lookup(_text_of(options.file))
    _output([one.as_dict() for one in found], sections, options.json)
    return 0


def substrings(options: argparse.Namespace) -> int:
    """``curate substrings``."""
    from curate.api import open_run
    from curate.look.substrings import sections
    from curate.look.substrings import substrings as look

    _output(look(open_run(options.workspace), options.tokens), sections, options.json)
    return 0


def _text_of(file: str) -> str:
    """A text file, or standard input for ``-``.

    Raises:
        RequestError: it cannot be read, or is not UTF-8.
    """
    try:
        if file == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        with open(file, "rb") as opened:
            return opened.read().decode("utf-8")
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is not UTF-8 (byte {error.start}); convert it first") from None


def clusters(options: argparse.Namespace) -> int:
    """``curate clusters``."""
    from curate.api import open_run
    from curate.look.clusters import clusters_of, sections

    _output(clusters_of(open_run(options.workspace), options.n, options.by), sections, options.json)
    return 0


def verify(options: argparse.Namespace) -> int:
    """``curate verify``."""
    from curate.look.verify import sections
    from curate.look.verify import verify as look

    report = look(
        options.workspace, say=None if options.json else lambda text: print(text, file=sys.stderr, flush=True)
    )
    _output(report.as_dict(), sections, options.json)
    return 1 if report.faults else 0


def clean(options: argparse.Namespace) -> int:
    """``curate clean``."""
    from curate.look.clean import clean as sweep
    from curate.look.clean import sections

    _output(sweep(options.workspace, keep=options.keep, remove=options.yes).as_dict(), sections, as_json=False)
    return 0


def _output(value: Any, sections: Callable[..., Any], as_json: bool, out: IO[str] | None = None) -> None:
    """``value`` as JSON, or as text laid out by ``sections``."""
    if as_json:
        import json

        print(json.dumps(value, indent=1, ensure_ascii=False), file=out or sys.stdout)
        return
    from curate.look.render import console, show

    show(sections(value, plain=not console(out).is_terminal), out)


if __name__ == "__main__":
    sys.exit(main())
