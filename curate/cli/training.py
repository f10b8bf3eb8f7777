"""The command that trains a quality classifier."""

from __future__ import annotations

import argparse

from curate.base.errors import RequestError
from curate.cli.shared import AddCommand, natural, output, positive


def add(command: AddCommand) -> None:
    """Add the commands to the parser."""
    parser = command(
        "train-classifier",
        train_classifier,
        "train a fastText quality classifier and measure it on texts that are held out",
        "The same texts and options give the same model.",
    )
    parser.add_argument(
        "--positive", metavar="PATH", nargs="+", action="extend", default=[], help="texts worth keeping"
    )
    parser.add_argument(
        "--negative", metavar="PATH", nargs="+", action="extend", default=[], help="texts of the other kind"
    )
    parser.add_argument(
        "--label",
        dest="labels",
        metavar="NAME=PATH",
        nargs="+",
        action="extend",
        default=[],
        help="texts of any label, instead of --positive (label hq) and --negative (label lq)",
    )
    parser.add_argument("-o", "--output", metavar="MODEL", required=True, help="the .bin file to write")
    parser.add_argument("--score", metavar="NAME", help="the label whose probability is the score (default: hq)")
    parser.add_argument("--sample", metavar="PATH", nargs="+", default=[], help="texts to take the thresholds from")
    parser.add_argument("--keep", type=float, metavar="SHARE", help="share of the sample to keep: prints its min_score")
    parser.add_argument("--text-field", metavar="F", default="text", help="field that holds the text (default: text)")
    parser.add_argument("--epochs", type=positive, default=5, metavar="N", help="passes over the texts (default: 5)")
    parser.add_argument(
        "--learning-rate", type=float, default=1.0, metavar="R", help="learning rate (default: 1; 0.1 for 10⁵ texts)"
    )
    parser.add_argument("--dim", type=positive, default=100, metavar="N", help="dimensions of a word (default: 100)")
    parser.add_argument("--ngrams", type=positive, default=2, metavar="N", help="longest word n-gram (default: 2)")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="seed of the training (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def train_classifier(options: argparse.Namespace) -> int:
    """``curate train-classifier``."""
    from pathlib import Path

    from curate.quality.training import TrainingOptions
    from curate.report.outcomes import trained
    from curate.tools.init import train_classifier as train

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
    return output(result, trained, options.json)
