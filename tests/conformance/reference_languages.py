"""Runs datatrove's filters as FineWeb-2's pipeline does, a rule at a time, on texts whose words are given.

Runs in the environment of requirements.txt, which has no curate: ``python reference_languages.py PAGES OUT RULES``. PAGES
has one JSON object a line, ``text`` and ``words``; OUT gets one a line, whether each rule drops the text (``error``: it
divides by zero; ``left out``), and ``first``, the reason of the whole pipeline. RULES is a file of FineWeb-2's.
"""

import json
import sys
import warnings

import yaml

warnings.filterwarnings("ignore")

from datatrove.data import Document  # noqa: E402
from datatrove.pipeline.filters import (  # noqa: E402
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

words = {}
for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
    module.split_into_words = lambda text, language: words[text]

LONG_WORDS = 20_000
"""On longer pages only the rule about long documents is run: n-grams would take minutes."""

NO_REPETITION = {"dup_line_frac": 0, "dup_para_frac": 0, "dup_line_char_frac": 0, "dup_para_char_frac": 0}
NO_QUALITY = dict.fromkeys(
    "min_doc_words max_doc_words min_avg_word_length max_avg_word_length min_stop_words max_symbol_word_ratio "
    "max_bullet_lines_ratio max_ellipsis_lines_ratio max_non_alpha_words_ratio".split(),
    0,
)
NEVER = float("inf")
NO_FINEWEB = {"line_punct_thr": -1, "short_line_thr": 999, "char_duplicates_ratio": NEVER, "new_line_ratio": NEVER}


def repetition(**given):
    return GopherRepetitionFilter(**{**NO_REPETITION, "top_n_grams": (), "dup_n_grams": (), **given})


def rules_alone(config):
    """A filter for every rule, with all others off."""
    found = {"dup_line_frac": repetition(dup_line_frac=config["dup_line_frac"])}
    for n, limit in config["top_n_grams"]:
        found[f"top_{n}_gram"] = repetition(top_n_grams=[(n, limit)])
    for n, limit in config["dup_n_grams"]:
        found[f"duplicated_{n}_n_grams"] = repetition(dup_n_grams=[(n, limit)])
    names = {
        "line_punct_ratio": "line_punct_thr",
        "list_ratio": "new_line_ratio",
        "char_dup_ratio": "char_duplicates_ratio",
    }
    limits = {**config, "char_duplicates_ratio": 0.1}
    for reason, name in names.items():
        found[reason] = FineWebQualityFilter(**{**NO_FINEWEB, name: limits[name]})
    defaults = {
        "gopher_short_doc": {"min_doc_words": 50},
        "gopher_long_doc": {"max_doc_words": 100_000},
        "gopher_below_avg_threshold": {"min_avg_word_length": config["min_avg_word_length"]},
        "gopher_above_avg_threshold": {"max_avg_word_length": config["max_avg_word_length"]},
        "gopher_too_many_hashes": {"max_symbol_word_ratio": 0.1},
        "gopher_too_many_ellipsis": {"max_symbol_word_ratio": 0.1},
        "gopher_too_many_bullets": {"max_bullet_lines_ratio": 0.9},
        "gopher_too_many_end_ellipsis": {"max_ellipsis_lines_ratio": 0.3},
        "gopher_below_alpha_threshold": {"max_non_alpha_words_ratio": config["max_non_alpha_words_ratio"]},
        "gopher_enough_stop_words": {"min_stop_words": 2, "stop_words": config["stopwords"]},
    }
    for reason, given in defaults.items():
        found[reason] = GopherQualityFilter(**{**NO_QUALITY, **given})
    return found


def pipeline(config):
    """FineWeb-2's filters, in its order."""
    return {
        "gopher_repetition": GopherRepetitionFilter(
            dup_para_frac=0, dup_line_char_frac=0, dup_para_char_frac=0, dup_line_frac=config["dup_line_frac"],
            top_n_grams=config["top_n_grams"], dup_n_grams=config["dup_n_grams"],
        ),
        "fineweb": FineWebQualityFilter(
            short_line_thr=999, char_duplicates_ratio=0.1, line_punct_thr=config["line_punct_thr"],
            new_line_ratio=config["new_line_ratio"],
        ),
        "gopher_quality": GopherQualityFilter(
            max_avg_word_length=config["max_avg_word_length"], min_avg_word_length=config["min_avg_word_length"],
            stop_words=config["stopwords"], max_non_alpha_words_ratio=config["max_non_alpha_words_ratio"], min_stop_words=2,
        ),
    }  # fmt: skip


def reason_of(one, text):
    """The reason to drop a text, None where it is kept; ``error`` where the filter divides by zero."""
    try:
        result = one.filter(Document(text=text, id="0"))
    except ZeroDivisionError:
        return "error"
    return None if result is True else result[1]


if __name__ == "__main__":
    with open(sys.argv[3], encoding="utf-8") as file:
        config = yaml.safe_load(file)
    alone, all_filters = rules_alone(config), pipeline(config)
    with open(sys.argv[1], encoding="utf-8") as pages, open(sys.argv[2], "w", encoding="utf-8") as out:
        for line in pages:
            page = json.loads(line)
            text = page["text"]
            words.clear()
            words[text] = page["words"]
            found = {}
            if len(page["words"]) > LONG_WORDS:
                found = dict.fromkeys([*alone, "first"], "left out")
                found["gopher_long_doc"] = reason_of(alone["gopher_long_doc"], text) == "gopher_long_doc"
                out.write(json.dumps(found) + "\n")
                continue
            for reason, one in alone.items():
                said = reason_of(one, text)
                # Hashes and ellipses share a limit; an empty text is another rule's reason.
                found[reason] = "error" if said == "error" else said == reason
            first = ((name, reason_of(one, text)) for name, one in all_filters.items())
            found["first"] = next((f"{name}.{said}" for name, said in first if said), None)
            out.write(json.dumps(found) + "\n")
