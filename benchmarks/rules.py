"""What the default rules keep of clean text and remove of junk, beside Gopher's published rules.

    .venv/bin/python -m benchmarks.rules [NAME[:KIND]=]PATH … [--documents 2000] [--removed 3] [--junk 200] [--seed 0]

A path is a file, folder or pattern of any input format. Documents are drawn by the hash of their text. ``--removed`` shows
what was removed, to be read; ``--by-script`` has a line for every script.
"""

from __future__ import annotations

import argparse
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from curate.quality.junk_signs import measure_signs
from curate.quality.rule_sets import KINDS, PRESETS
from curate.quality.signals import measure
from curate.quality.verdicts import decide
from curate.tools.init import texts_of
from tests.junk import KINDS as JUNK
from tests.junk import junk

BATCH_BYTES = 8_000_000


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in batches of some 8 MB."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def removed_by(texts: Sequence[str], kind: str) -> tuple[list[str | None], list[str | None]]:
    """(what the default rules remove each text for, what Gopher's remove it for)."""
    ours: list[str | None] = []
    gophers: list[str | None] = []
    for batch in batches(texts):
        array = pa.array(batch, pa.large_string())
        signals = measure(array, ("gopher_repetition", "gopher_quality"))
        for name, values in measure_signs(array).items():
            signals = signals.append_column(name, pa.array(values))
        ours += decide(signals, PRESETS["default"], kind=kind)[0].to_pylist()
        # No text is too long, as in the default of earlier versions.
        gophers += decide(signals, PRESETS["gopher"], {"gopher_quality": {"max_doc_words": None}})[0].to_pylist()
    return ours, gophers


def script_of(text: str) -> str:
    """The script that most letters of the first 2,000 characters are of, by the first word of their names."""
    letters = (unicodedata.name(c, "?").split()[0] for c in text[:2_000] if c.isalpha())
    return next((name for name, _ in Counter(letters).most_common(1)), "none").capitalize()


def line(name: str, texts: Sequence[str], kind: str, show: int) -> None:
    """Print one row of the table, and some of what was removed."""
    ours, gophers = removed_by(texts, kind)
    kept, before = (100 * sum(reason is None for reason in reasons) / len(texts) for reasons in (ours, gophers))
    reasons = ", ".join(f"{reason} {n}" for reason, n in Counter(filter(None, ours)).most_common(4))
    print(f"| {name} | {kind} | {len(texts):,} | {before:.1f} % | {kept:.1f} % | {reasons} |", flush=True)
    for reason, text in [(reason, text) for reason, text in zip(ours, texts, strict=True) if reason][:show]:
        print(f"    {reason}: {text[:200]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="*", metavar="[NAME[:KIND]=]PATH")
    parser.add_argument("--documents", type=int, default=2_000, help="of each corpus, at most")
    parser.add_argument("--removed", type=int, default=0, help="clean texts to show of what each corpus lost")
    parser.add_argument("--junk", type=int, default=200, help="texts of each kind of junk")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-script", action="store_true", help="a line for every script")
    options = parser.parse_args()
    print("| text | kind | documents | Gopher keeps | default keeps | removed by |")
    print("|---|---|---:|---:|---:|---|")
    for given in options.corpora:
        named, _, path = given.rpartition("=")
        name, _, kind = named.partition(":")
        kind = kind or "any"
        if kind not in KINDS:
            parser.error(f"{given}: there is no kind {kind!r}; kinds are {', '.join(KINDS)}")
        by_hash = {
            hashlib.blake2b(text.encode(), digest_size=8).digest(): text for text in texts_of(path) if text.strip()
        }
        texts = sorted(by_hash.items())
        drawn = [text for _, text in texts[: options.documents]]
        groups: dict[str, list[str]] = {}
        for text in drawn:
            groups.setdefault(script_of(text) if options.by_script else "", []).append(text)
        for script in sorted(groups, key=lambda one: -len(groups[one])):
            line(f"{name or path} {script}".strip(), groups[script], kind, options.removed)
    for kind in JUNK if options.junk else ():
        line(f"junk: {kind}", junk(kind, options.junk, options.seed), "any", 0)


if __name__ == "__main__":
    main()
