"""Semantic duplicates of a corpus of several sources: what goes, whether it should, and whether edited copies are found.

    python benchmarks/mixed_duplicates.py FOLDER [--templates 30000] [--planted 150]

FOLDER holds JSONL files (`.zst` or not) with `text`; each is a source. With `--templates`, as many short pages are made
from `powershell_docs.jsonl.zst`, each of a command and one of its parameters, in eight templates. Of every source some
documents get a copy in which 10 to 30 % of the words are changed: into words of the source, into letters, or left out.
Near duplicates are removed first, with the defaults of the recipe.

Shown by source: what the vectors alone would remove (cosine .95, as SemDeDup does) and what is removed now; of both, the
share that runs of five characters confirm (Jaccard similarity of the sets from .35 on: a copy with 30 % of its words changed
has .38), the lowest word-set Jaccard similarity to the keeper (words by `\\w+`, lowercased), and the share of the copies that
are found: one of the two is removed with the other as its keeper, or both for the same.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ordering_corpora import records

from curate.dedup.minhash import MinHashParams, band_keys, group, sign
from curate.dedup.resolve import resolve
from curate.dedup.shingles import shingle_sets
from curate.recipe.dedup import Near, Semantic
from curate.relate.duplicates import CONFIRMED, choose_keepers, claims, compile_kernels, judge
from curate.relate.embedders import lexical
from curate.relate.neighbors import neighbors
from curate.relate.similarity import Vectors, cosine
from curate.relate.sketches import sketch

ALONE = 0.95
"""Cosine from which on vectors alone would remove a document."""

CHARACTERS_CONFIRM = 0.35

_SHOWN = (
    "# {c}\n\n> {about}\n> {more}: <https://learn.example/{module}/{c}>.\n\n- {run} {c} {with_} {p}:\n\n`{c} -{p} {{{{{v}}}}}`"
    "\n\n- {help} {c}:\n\n`Get-Help {c} -Parameter {p}`\n"
)
_LANGUAGES = (
    ("More information", "Run", "with the parameter", "Show the help of"),
    ("Weitere Informationen", "Aufruf von", "mit dem Parameter", "Die Hilfe zeigen zu"),
    ("Plus d'informations", "Lancer", "avec le paramètre", "Afficher l'aide de"),
    ("Más información", "Ejecutar", "con el parámetro", "Mostrar la ayuda de"),
    ("Maggiori informazioni", "Esegui", "con il parametro", "Mostra la guida di"),
)
_SAID = (
    "The {c} cmdlet has a parameter {p}. {what} To see all parameters, run `Get-Help {c} -Full`. Module: {module}.\n",
    "Parameter {p} of {c}\nRequired: False\nPosition: Named\nAccept pipeline input: False\nAccept wildcard characters: False\n"
    "The parameter belongs to the module {module} and is described on the page of the command.\n",
    "How do I use {p} with {c}? {what} Write `{c} -{p}` and a value; leave it out to take the default. See also the about "
    "pages of the module {module}.\n",
)


class Mixed(NamedTuple):
    """A corpus of n documents: texts, sources, and int64[n] the document that each is an edited copy of, or -1."""

    texts: list[str]
    sources: NDArray[np.str_]
    original: NDArray[np.int64]


def templated(folder: Path, number: int) -> list[str]:
    """Short pages in eight templates, each of a command and a parameter."""
    pages, seen = [], set()
    for row in records(folder / "powershell_docs.jsonl.zst"):
        text, module = row["text"], str(row.get("label", "")).lower()
        if not (title := re.search(r"(?m)^# ([A-Z]\w+-\w+)\s*$", text)):
            continue
        about = re.search(r"## SYNOPSIS\s+(.+?)\n\n", text, re.S)
        for parameter in re.finditer(r"(?m)^### -(\w+)\s*\n\s*(.+?)\n\n", text, re.S):
            c, p = title[1], parameter[1]
            if (c, p) in seen:
                continue
            seen.add((c, p))
            fields = {"c": c, "p": p, "v": p.lower(), "module": module, "what": " ".join(parameter[2].split())[:160]}
            fields["about"] = " ".join(about[1].split())[:120] if about else ""
            for more, run, with_, help_ in _LANGUAGES:
                pages.append(_SHOWN.format(more=more, run=run, with_=with_, help=help_, **fields))
            pages += [said.format(**fields) for said in _SAID]
    random.Random(0).shuffle(pages)
    return pages[:number]


def edited(text: str, share: float, rng: random.Random, pool: list[str], how: int) -> str:
    """A text with a share of its words changed: into words of the pool, into letters, or left out."""
    parts = re.split(r"(\s+)", text)
    words = [i for i in range(0, len(parts), 2) if parts[i]]
    for i in rng.sample(words, round(share * len(words))):
        letters = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9)))
        parts[i] = (rng.choice(pool), letters, "")[how]
    return "".join(parts)


def corpus(folder: Path, templates: int, planted: int) -> Mixed:
    """All sources, with edited copies, without near duplicates."""
    found = {
        path.name.split(".")[0]: [row["text"] for row in records(path)] for path in sorted(folder.glob("*.jsonl*"))
    }
    if templates:
        found["templates"] = templated(folder, templates)
    texts = [text for rows in found.values() for text in rows]
    sources = [name for name, rows in found.items() for _ in rows]
    original = [-1] * len(texts)
    rng, first = random.Random(1), 0
    for name, rows in found.items():
        pool = [word for text in rng.sample(rows, min(100, len(rows))) for word in text.split()]
        for number, i in enumerate(rng.sample(range(len(rows)), min(planted, len(rows)))):
            texts.append(edited(rows[i], rng.uniform(0.1, 0.3), rng, pool, number % 3))
            sources.append(name)
            original.append(first + i)
        first += len(rows)
    return _without_near(Mixed(texts, np.array(sources), np.array(original)))


def _without_near(all_: Mixed) -> Mixed:
    column, near = pa.array(all_.texts, pa.large_string()), Near()
    params, ids = MinHashParams(), np.arange(len(all_.texts), dtype=np.uint64)
    signature = sign(column, params).signature
    keys = band_keys(signature, params)
    _, members, offsets = group(keys.ravel(), np.repeat(ids, keys.shape[1]))
    lengths = np.array([len(text) for text in all_.texts], float)[:, None]
    sets = shingle_sets(column, near.ngram)
    found = resolve(ids, *sets, lengths, offsets, members.astype(np.int64), near.threshold, signature=signature)
    stays = np.ones(len(ids), np.bool_)
    stays[found.removed] = False
    stays &= (all_.original < 0) | stays[all_.original]
    place = np.where(stays, np.cumsum(stays) - 1, -1)
    kept = np.flatnonzero(stays)
    original = np.where(all_.original < 0, -1, place[all_.original])
    return Mixed([all_.texts[i] for i in kept], all_.sources[kept], original[kept])


def by_vectors_alone(vectors: Vectors, lengths: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64[n]: the keeper of each document by cosine alone, longer ones first; -1 for those that stay."""
    keeper, kept = np.full(len(vectors), -1, np.int64), np.zeros(0, np.int64)
    order = np.lexsort((np.arange(len(vectors)), -lengths))
    for start in range(0, len(order), 1024):
        rows = order[start : start + 1024]
        alike = cosine(vectors[rows], vectors[kept]) >= ALONE
        gone = alike.any(axis=1)
        keeper[rows[gone]] = kept[alike[gone].argmax(axis=1)] if gone.any() else -1
        rows = rows[~gone]
        alike, stays = np.tril(cosine(vectors[rows], vectors[rows]) >= ALONE, -1), np.ones(len(rows), np.bool_)
        for i in range(len(rows)):
            if (alike[i] & stays).any():
                keeper[rows[i]], stays[i] = rows[(alike[i] & stays).argmax()], False
        kept = np.append(kept, rows[stays])
    return keeper


def verified(found: Mixed, vectors: Vectors, lengths: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64[n]: the keeper of each document as the stage `order` finds it in one region; -1 for those that stay."""
    compile_kernels()
    section = Semantic()
    claimed = claims(vectors, neighbors(vectors, 20, 0.95), section.threshold)
    suspects = np.unique(np.concatenate([claimed.a, claimed.b]))
    began = time.process_time()
    sketches = sketch(pa.array([found.texts[i] for i in suspects], pa.large_string()))
    made = time.process_time()
    a, b = np.searchsorted(suspects, claimed.a), np.searchsorted(suspects, claimed.b)
    confirmed = judge(a, b, sketches, section.overlap).verdict == CONFIRMED
    chosen = choose_keepers(a[confirmed], b[confirmed], len(suspects), lengths[suspects][:, None])
    size = sum(len(found.texts[i].encode()) for i in suspects) / 1e6
    print(
        f"\n{len(suspects):,} of {len(vectors):,} documents with {len(a):,} claims: sketches {size / (made - began):.0f} MB/s, "
        f"claims {(time.process_time() - made) / max(len(a), 1) * 1e6:.1f} µs each\n"
    )
    keeper = np.full(len(vectors), -1, np.int64)
    keeper[suspects] = np.where(chosen >= 0, suspects[chosen], -1)
    return keeper


def characters(text: str) -> set[str]:
    """Runs of five characters."""
    text = " ".join(text.lower().split())
    return {text[i : i + 5] for i in range(max(len(text) - 4, 1))}


def words(text: str) -> set[str]:
    """The words of a text."""
    return set(re.findall(r"\w+", text.lower()))


def jaccard(a: set[str], b: set[str]) -> float:
    """Jaccard similarity."""
    return len(a & b) / max(len(a | b), 1)


def show(name: str, found: Mixed, keeper: NDArray[np.int64], most: int = 500) -> None:
    """A table of what is removed, by source; of many removals ``most`` are measured, drawn at random."""
    print(
        f"\n{name}\n\n| source | documents | removed | confirmed | lowest word Jaccard | copies found |\n|---|---|---|---|---|---|"
    )
    rng = random.Random(2)
    by_source: dict[str, list[int]] = defaultdict(list)
    for row in np.flatnonzero(keeper >= 0).tolist():
        by_source[str(found.sources[row])].append(row)
    for source in np.unique(found.sources).tolist():
        rows = by_source[source]
        drawn = [(found.texts[i], found.texts[keeper[i]]) for i in rng.sample(rows, min(most, len(rows)))]
        confirmed = np.mean([jaccard(*map(characters, pair)) >= CHARACTERS_CONFIRM for pair in drawn] or [1.0])
        lowest = min((jaccard(*map(words, pair)) for pair in drawn), default=1.0)
        copies = np.flatnonzero((found.original >= 0) & (found.sources == source))
        of = found.original[copies]
        is_found = (keeper[copies] == of) | (keeper[of] == copies)
        is_found |= (keeper[copies] >= 0) & (keeper[copies] == keeper[of])
        total = int((found.sources == source).sum())
        share = f"{is_found.mean():.1%}" if len(copies) else ""
        print(f"| {source} | {total:,} | {len(rows):,} | {confirmed:.1%} | {lowest:.2f} | {share} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--templates", type=int, default=0)
    parser.add_argument("--planted", type=int, default=150)
    options = parser.parse_args()
    found = corpus(options.folder, options.templates, options.planted)
    column = pa.array(found.texts, pa.large_string())
    lengths = np.array([len(text) for text in found.texts], float)
    vectors, _ = lexical.fit(column).transform(column)
    show("By the vectors alone", found, by_vectors_alone(vectors, lengths))
    show("Verified by the texts", found, verified(found, vectors, lengths))


if __name__ == "__main__":
    main()
