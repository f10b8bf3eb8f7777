"""Labelled corpora for the benchmarks of ordering: from a folder of JSONL files with `text` and `label`.

Known files, each taken if it is there:

    bbc_news.jsonl.zst         news articles by topic
    powershell_docs.jsonl.zst  pages by module, the newest version of each (`dup_group` names the page)
    gutenberg_books.jsonl.zst  passages of 4,000 characters by book (`id`)

Another file is taken as it is when it is named.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
import zstandard
from numpy.typing import NDArray

from curate.recipe.dedup import Semantic
from curate.relate.cells import quantise
from curate.relate.duplicates import CONFIRMED, choose_keepers, claims, judge
from curate.relate.embedders import lexical
from curate.relate.embedders.model import ModelEmbedder, find_model
from curate.relate.encoders.quantised import mean_direction, quantise_directions
from curate.relate.encoders.subspace import right_subspace
from curate.relate.neighbors import Neighbors, among, neighbors
from curate.relate.similarity import Vectors
from curate.relate.sketches import sketch

PASSAGE = 4000
JUDGED = 600
"""Characters that a model judges by: an embedding of so many takes a transformer some 20 ms on one core."""

MAX_SIMILARITY = 0.95
KNOWN: dict[str, dict[str, str]] = {
    "bbc_news.jsonl.zst": {},
    "powershell_docs.jsonl.zst": {"newest": "dup_group"},
    "gutenberg_books.jsonl.zst": {"passages": "id"},
}


@dataclass
class Corpus:
    """Documents left after semantic duplicates have gone, as the default recipe does.

    Attributes:
        texts, labels: of the n documents.
        lengths: int64[n] tokens, bytes / 4.
        vectors: int8[n, 256], lexical.
        judges: int8[n, D] each, of embedders that nothing was built with: runs of four characters, and a model that is named.
        keywords: int32[n, 8].
        found: the 20 nearest below .95.
        removed: semantic duplicates.
    """

    name: str
    texts: list[str]
    labels: list[str]
    lengths: NDArray[np.int64]
    vectors: Vectors
    judges: dict[str, Vectors]
    keywords: NDArray[np.int32]
    found: Neighbors
    removed: int


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSONL file."""
    with path.open("rb") as raw:
        stream: Any = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            yield json.loads(line)


def passages(text: str, size: int = PASSAGE) -> Iterator[str]:
    """Stretches of about ``size`` characters, cut at white space."""
    at = 0
    while at < len(text):
        end = at + size
        if end < len(text):
            space = max(text.rfind(" ", at, end), text.rfind("\n", at, end))
            end = space + 1 if space > at else end
        if text[at:end].strip():
            yield text[at:end]
        at = end


def load(path: Path, limit: int | None = None) -> tuple[list[str], list[str]]:
    """(texts, labels) of a corpus, in the file's order."""
    how = KNOWN.get(path.name, {})
    rows = list(records(path))
    if "newest" in how:
        last = {row[how["newest"]] or number: row for number, row in enumerate(rows)}
        rows = list(last.values())
    if "passages" in how:
        cut = [(part, row[how["passages"]]) for row in rows for part in passages(row["text"])]
    else:
        cut = [(row["text"], row.get("label", "")) for row in rows]
    cut = cut[:limit]
    return [text for text, _ in cut], [str(label) for _, label in cut]


def prepare(path: Path, limit: int | None = None, judge: str | None = None) -> Corpus:
    """The corpus with vectors, neighbours and lengths; ``judge`` names an embedding model that judges, too."""
    texts, labels = load(path, limit)
    column = pa.array(texts, pa.large_string())
    model = lexical.fit(column)
    vectors, _ = model.transform(column)
    found = neighbors(vectors, 20, MAX_SIMILARITY)
    keeper = semantic_duplicates(vectors, found, column)
    kept = np.flatnonzero(keeper < 0)
    lengths = np.array([max(1, len(text.encode()) // 4) for text in texts], np.int64)
    texts, labels = [texts[i] for i in kept], [labels[i] for i in kept]
    judges = {"characters": character_vectors(texts)} | ({judge: model_vectors(texts, judge)} if judge else {})
    return Corpus(
        path.name.split(".")[0],
        texts,
        labels,
        lengths[kept],
        vectors[kept],
        judges,
        model.keywords(column)[kept],
        among(found, vectors, kept, MAX_SIMILARITY),
        int((keeper >= 0).sum()),
    )


def semantic_duplicates(vectors: Vectors, found: Neighbors, texts: pa.Array) -> NDArray[np.int64]:
    """int64[n]: the document kept in place of each, -1 for those that stay, with the recipe's defaults."""
    section = Semantic()
    claimed = claims(vectors, found, section.threshold)
    confirmed = judge(claimed.a, claimed.b, sketch(texts), section.overlap).verdict == CONFIRMED
    return choose_keepers(claimed.a[confirmed], claimed.b[confirmed], len(vectors))


def model_vectors(texts: list[str], name: str) -> Vectors:
    """int8[n, D] by an embedding model's folder or package, from the first characters of the texts, mean removed."""
    rows = ModelEmbedder(find_model(name), None, "first").encode([text[:JUDGED] for text in texts])
    return quantise_directions(rows, mean_direction(rows))[0]


def character_vectors(texts: list[str], dim: int = 256, buckets: int = 1 << 16) -> Vectors:
    """int8[n, dim]: TF-IDF of hashed runs of four bytes, projected on its own subspace with its own seed, mean removed."""
    indices, counts, pointers = [], [], [0]
    for text in texts:
        data = np.frombuffer(text.lower().encode(), np.uint8).astype(np.uint64)
        grams = (data[:-3] << 24 | data[1:-2] << 16 | data[2:-1] << 8 | data[3:]) if len(data) > 3 else data
        found, count = np.unique((grams * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(48), return_counts=True)
        indices.append(found.astype(np.int64) % buckets)
        counts.append(count)
        pointers.append(pointers[-1] + len(found))
    matrix = sp.csr_array(
        (1 + np.log(np.concatenate(counts)), np.concatenate(indices), np.array(pointers)), shape=(len(texts), buckets)
    )
    frequency = np.bincount(matrix.indices, minlength=buckets)
    matrix = matrix[:, np.argsort(-np.where(frequency > 0.5 * len(texts), 0, frequency))[:20_000]].tocsr()
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])
    matrix.data *= np.log((1 + len(texts)) / (1 + frequency[matrix.indices])) + 1
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix = sp.csr_array(sp.diags_array(1 / np.maximum(norm, 1e-12)) @ matrix)
    matrix.sort_indices()
    projected = matrix @ right_subspace(matrix, dim, 7, 2)
    projected /= np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
    projected -= projected.mean(axis=0)
    return quantise(np.rint(projected * 1e6).astype(np.int64))
