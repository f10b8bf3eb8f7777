"""Do vectors hold for every source of a mixed corpus? Recall, labels, what is held, and windows, by source.

    python benchmarks/mixed.py FOLDER [--short N] [--probes P] [--window L] [--dim D] [--skip-windows]

FOLDER has `bbc_news`, `movie_reviews`, `udhr2_multilingual` and `powershell_docs` (`.jsonl.zst`, with `text` and `label`);
those that are there are taken. `--short` adds so many short pages made from the sentences and commands of the PowerShell
pages by one template. Every figure is given for the former model (a plain sample, 256 dimensions) and for the present one.

* recall: share of the 20 nearest documents whose full TF-IDF cosine is within .02 of the 20th by full TF-IDF.
* label: share of the 20 nearest with the probe's label (of short pages and their originals: the module).
* held: mean share of the squared TF-IDF length that the model holds.
* windows: mean similarity of pairs in windows of `icp` and of `related`, by a judge that was fitted on the source alone
  (TF-IDF of runs of four characters; documents of another source count 0); the ceiling is the mean similarity, by the judge,
  to as many of its nearest documents below .95. The documents are the same for both models: none is removed.
"""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray
from ordering import Windows, print_table
from ordering_corpora import MAX_SIMILARITY, Corpus, character_vectors, load

from curate.base.hashing import mix64
from curate.base.text import text_buffers
from curate.relate.embedders import lexical
from curate.relate.encoders.words import word_rows
from curate.relate.neighbors import neighbors
from curate.relate.similarity import Vectors, cosine

SOURCES = {
    "news": "bbc_news.jsonl.zst",
    "reviews": "movie_reviews.jsonl.zst",
    "declarations": "udhr2_multilingual.jsonl.zst",
    "pages": "powershell_docs.jsonl.zst",
}
NEAREST, WITHIN = 20, 0.02


@dataclass
class Mixed:
    """texts, sources, labels: of n documents."""

    texts: list[str]
    sources: NDArray[np.str_]
    labels: NDArray[np.str_]


def short_pages(texts: list[str], labels: list[str], number: int) -> tuple[list[str], list[str]]:
    """(texts, labels) of pages with a title, a sentence, and two to five sentences with a command each."""
    sources = []
    for text, label in zip(texts, labels, strict=True):
        title = re.search(r"^title: (.+)$", text, re.MULTILINE)
        parts = [part for part in re.split(r"\n\s*\n", text) if part[:1].isalpha()]
        sentences = [
            s for part in parts for s in re.split(r"(?<=[.!?])\s+", " ".join(part.split())) if 30 < len(s) < 250
        ]
        blocks = re.findall(r"```(?:powershell)?\n(.*?)```", text, re.DOTALL)
        commands = [line.strip() for block in blocks for line in block.split("\n") if 8 < len(line.strip()) < 120]
        if title and len(sentences) >= 3 and len(commands) >= 2:
            sources.append((title.group(1).strip(), label, sentences, commands))
    numbers = mix64(np.arange(number * 12, dtype=np.uint64)).reshape(number, 12) >> np.uint64(8)
    made, kept = [], []
    for i, drawn in enumerate(numbers.astype(np.int64).tolist()):
        title_of, label, sentences, commands = sources[i % len(sources)]
        items = [
            f"- {sentences[drawn[2 * j] % len(sentences)]}:\n\n`{commands[drawn[2 * j + 1] % len(commands)]}`"
            for j in range(2 + drawn[10] % 4)
        ]
        head = f"# {title_of}\n\n> {sentences[drawn[11] % len(sentences)]}\n> More information: <https://learn.microsoft.com>."
        made.append("\n\n".join([head, *items]) + "\n")
        kept.append(label)
    return made, kept


def mixed(folder: Path, short: int) -> Mixed:
    """The corpus of a folder."""
    texts: list[str] = []
    sources: list[str] = []
    labels: list[str] = []
    for source, name in SOURCES.items():
        if (folder / name).exists():
            found = [load(folder / name)]
            found += [short_pages(*found[0], short)] if source == "pages" and short else []
            for kind, (here, own) in zip((source, "short pages"), found, strict=False):
                texts, sources = texts + here, sources + [kind] * len(here)
                labels += [f"{source}/{label}" for label in own]
    return Mixed(texts, np.array(sources), np.array(labels))


def full_tfidf(texts: list[str]) -> sp.csr_array:
    """[N, V]: unit TF-IDF rows over all words that two documents have and not half of them."""
    words = word_rows(*text_buffers(pa.array(texts, pa.large_string())))
    hashes, count = words.frequencies()
    term, n = np.searchsorted(hashes, words.hashes), len(texts)
    idf = np.where((count >= 2) & (count <= n / 2), np.log((1 + n) / (1 + count)) + 1, 0.0)
    matrix = sp.csr_array(((1 + np.log(words.counts)) * idf[term], term, words.pointers), shape=(n, len(hashes)))
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sp.csr_array(sp.diags_array(1 / np.maximum(length, 1e-12)) @ matrix)


class Yardstick:
    """Probes of every source with their full TF-IDF cosines to all documents."""

    def __init__(self, corpus: Mixed, probes: int) -> None:
        self.corpus = corpus
        matrix = full_tfidf(corpus.texts)
        across = matrix.T.tocsr()
        self.probes: dict[str, NDArray[np.int64]] = {}
        self.similarity: dict[str, NDArray[np.float32]] = {}
        for source in dict.fromkeys(corpus.sources.tolist()):
            own = np.flatnonzero(corpus.sources == source)
            chosen = np.sort(own[np.argsort(mix64(own.astype(np.uint64)))][:probes])
            likeness = (matrix[chosen] @ across).toarray().astype(np.float32)
            likeness[np.arange(len(chosen)), chosen] = -1
            self.probes[source], self.similarity[source] = chosen, likeness

    def judge(self, source: str, vectors: Vectors) -> tuple[float, float]:
        """(recall, label) of the nearest documents of a source's probes."""
        probes, likeness, labels = self.probes[source], self.similarity[source], self.corpus.labels
        found = cosine(vectors[probes], vectors)
        found[np.arange(len(probes)), probes] = -2
        nearest = np.argsort(-found, axis=1, kind="stable")[:, :NEAREST]
        least = -np.partition(-likeness, NEAREST - 1, axis=1)[:, NEAREST - 1 : NEAREST] - WITHIN
        recall = (np.take_along_axis(likeness, nearest, axis=1) >= least).mean()
        return float(recall), float((labels[nearest] == labels[probes][:, None]).mean())


def labels_alone(corpus: Mixed, yardstick: Yardstick, source: str) -> float:
    """The label share of the former model fitted on one source, among its documents."""
    own = np.flatnonzero(corpus.sources == source)
    texts = [corpus.texts[i] for i in own]
    vectors, _ = lexical.fit(texts, 256).transform(texts)
    probes = np.searchsorted(own, yardstick.probes[source])
    found = cosine(vectors[probes], vectors)
    found[np.arange(len(probes)), probes] = -2
    nearest = np.argsort(-found, axis=1, kind="stable")[:, :NEAREST]
    labels = corpus.labels[own]
    return float((labels[nearest] == labels[probes][:, None]).mean())


def in_windows(
    corpus: Mixed, model: lexical.LexicalModel, vectors: Vectors, size: int, judges: dict[str, Vectors]
) -> dict[str, list[float]]:
    """Of every source [icp, related, documents of a window]: similarity in windows by the judge."""
    lengths = np.array([max(1, len(text.encode()) // 4) for text in corpus.texts], np.int64)
    found = neighbors(vectors, NEAREST, MAX_SIMILARITY)
    whole = Corpus(
        "mixed", corpus.texts, corpus.labels.tolist(), lengths, vectors, {},
        np.zeros((len(lengths), 0), np.int32), found, 0,
    )  # fmt: skip
    windows = Windows(whole, size)
    values: dict[str, list[float]] = {source: [] for source in judges}
    for order, prices in (("icp", {}), ("related", {"padding": 3.0})):
        path = windows.path(order)
        window = windows.window_of(path, windows.pack(path, 16, **prices))
        members = np.bincount(window[window >= 0])
        for source, judge in judges.items():
            own = np.flatnonzero((corpus.sources == source) & (window >= 0))
            rows = judge[np.searchsorted(np.flatnonzero(corpus.sources == source), own)].astype(np.float64)
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
            sums = np.zeros((len(members), rows.shape[1]))
            np.add.at(sums, window[own], rows)
            pairs = (members[window[own]] - 1).sum()
            alike = (sums[window[own]] * rows).sum() - (rows * rows).sum()
            values[source].append(float(alike / max(pairs, 1)))
    for source in judges:
        placed = window[corpus.sources == source]
        values[source].append(float(members[placed[placed >= 0]].mean()))
    return values


def ceiling(judge: Vectors, members: float) -> float:
    """Mean similarity of each document to as many nearest ones as share its window."""
    k = max(1, round(members) - 1)
    return float(neighbors(judge, k, MAX_SIMILARITY, brute_force_limit=4_000).similarity.mean())


def fitted(name: str, corpus: Mixed, dim: int) -> tuple[lexical.LexicalModel, Vectors, NDArray[np.float32]]:
    """A model of the corpus with vectors and what it holds; prints what it took."""
    texts = pa.array(corpus.texts, pa.large_string())
    strata = None if name == "former" else np.unique(corpus.sources, return_inverse=True)[1]
    began = time.process_time()
    model = lexical.fit(texts, dim, strata=strata)
    fit_seconds, began = time.process_time() - began, time.process_time()
    vectors, _, held = model.transform_held(texts)
    speed = sum(len(text.encode()) for text in corpus.texts) / 1e6 / (time.process_time() - began)
    print(
        f"{name}: {dim} dimensions, fit {fit_seconds:.1f} s, transform {speed:.0f} MB/s, of processor time of one core",
        flush=True,
    )
    return model, vectors, held


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--short", type=int, default=0, help="short pages to be made")
    parser.add_argument("--probes", type=int, default=250, help="of each source")
    parser.add_argument("--window", type=int, default=8_192)
    parser.add_argument("--dim", type=int, default=lexical.DIM)
    parser.add_argument("--skip-windows", action="store_true")
    chosen = parser.parse_args()
    lexical.compile_kernels()
    corpus = mixed(chosen.folder, chosen.short)
    yardstick = Yardstick(corpus, chosen.probes)
    models = {name: fitted(name, corpus, dim) for name, dim in (("former", 256), ("present", chosen.dim))}
    rows = []
    for source in yardstick.probes:
        own = corpus.sources == source
        judged = [yardstick.judge(source, vectors) for _, vectors, _ in models.values()]
        held = [float(held[own].mean()) for _, _, held in models.values()]
        alone = labels_alone(corpus, yardstick, source)
        figures = [value for pair in (*zip(*judged, strict=True), held) for value in pair]
        rows.append([source, f"{int(own.sum()):,}", *(f"{value:.3f}" for value in figures), f"{alone:.3f}"])
    head = ("recall, former", "recall", "label, former", "label", "held, former", "held", "label, former model alone")
    print()
    print_table(("source", "documents", *head), rows)
    if chosen.skip_windows:
        return
    judges = {
        s: character_vectors([t for t, o in zip(corpus.texts, corpus.sources, strict=True) if o == s])
        for s in yardstick.probes
    }
    values = [in_windows(corpus, model, vectors, chosen.window, judges) for model, vectors, _ in models.values()]
    rows = []
    for source, judge in judges.items():
        (before_icp, before, _), (icp, related, members) = (one[source] for one in values)
        most = ceiling(judge, members)
        closed = (related - icp) / (most - icp)
        figures = (before_icp, before, icp, related, most, closed)
        rows.append([source, f"{members:.1f}", *(f"{value:.3f}" for value in figures)])
    print_table(
        ("source", "documents a window", "icp, former", "related, former", "icp", "related", "ceiling", "closed"), rows
    )


if __name__ == "__main__":
    main()
