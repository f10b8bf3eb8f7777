"""The command that derives rules from clean text: fit-rules."""

from __future__ import annotations

import argparse

from curate.cli.shared import AddCommand, output

_METHODS = ("published", "tail", "quantile", "deviation")


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command(fit_rules)
    parser.value("reference", "REFERENCE", "clean texts of the language: files, folders or patterns", nargs="+")
    parser.value("--language", "CODE", "the language: de, deu, zh-Hant, deu_Latn", required=True)
    parser.value("-o --output", "FOLDER", "where <language>.yml is written", required=True)
    parser.values("--english", "PATH", "clean English texts, for quantile and deviation")
    parser.value("--method", None, "how limits are set (default: published)", choices=_METHODS, default="published")
    parser.value("--words", None, "how words are told (default: plain)", choices=("plain", "icu"), default="plain")
    parser.value("--text-field", "NAME", "field that holds the text (default: text)", default="text")
    parser.flag("--json", "print the result as JSON")


def fit_rules(options: argparse.Namespace) -> int:
    """Derive limits and stop words of a language from clean text, as a file for quality.by_language.

    Every limit is printed with the share of the clean text that it would remove. The methods are those of FineWeb-2: tail
    removes a tenth of the text, quantile the share that the limit for English removes of English text, deviation keeps the
    limit's distance from the mean in standard deviations; published takes for each rule set the one that ranked best.
    Without English texts, tail stands in for the other two.
    """
    from pathlib import Path

    from curate.report.outcomes import fitted_rules
    from curate.tools.fit_rules import fit_rules as fit

    found = fit(
        options.reference,
        options.language,
        Path(options.output),
        english=options.english,
        method=options.method,
        words=options.words,
        text_field=options.text_field,
    )
    return output(found, fitted_rules, options.json)
