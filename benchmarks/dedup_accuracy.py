"""Accuracy of deduplication against exact Jaccard over all pairs, and what peers keep of the same documents.

    python benchmarks/dedup_accuracy.py PAGES.jsonl.zst [--peers FOLDER] [--install] [--markdown]

PAGES holds documents with natural near-duplicates, such as a documentation's pages in several versions. The truth is the
Jaccard similarity of word 5-grams over all pairs, computed here in plain Python and SciPy from the texts: nothing of the
package's kernels is used for it but the rules of words (`normalized_words`).

Tables: removed documents and true pairs by similarity; candidates among planted edits against the S-curve; kept documents
of Curate and of the peers that are there (as in benchmarks/dedup.py), and the classes that the differences fall into.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from dedup import arguments, measure, systems, table
from numpy.typing import NDArray
from passages import texts_of_file
from scipy.stats import binom

from curate.dedup.minhash import MinHashParams, band_keys, collision_probability, sign
from tests.dedup.plain import normalized_words

THRESHOLD = 0.8
LOWEST = 0.5
"""Pairs below this similarity are not listed."""

GRADES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
TRIALS = 2_000
"""Planted pairs of each similarity, each in a corpus of its own."""


def shingle_matrix(texts: list[str], ngram: int) -> sp.csr_matrix:
    """bool[documents, distinct shingles], from words in plain Python."""
    number: dict[tuple[str, ...], int] = {}
    indices, indptr = [], [0]
    for text in texts:
        words = list(normalized_words(text))
        last = max(1, len(words) - ngram + 1) if words else 0
        mine = {tuple(words[i : i + ngram]) for i in range(last)}
        indices += [number.setdefault(one, len(number)) for one in mine]
        indptr.append(len(indices))
    return sp.csr_matrix((np.ones(len(indices), np.int32), indices, indptr), shape=(len(texts), len(number)))


class Truth:
    """Exact similarities of all pairs of ``texts`` at or above LOWEST: ``pairs`` {(a, b): Jaccard}, a < b."""

    def __init__(self, texts: list[str]) -> None:
        matrix = shingle_matrix(texts, 5)
        self.sizes = np.asarray(matrix.sum(axis=1)).ravel()
        self.pairs: dict[tuple[int, int], float] = {}
        for start in range(0, len(texts), 500):
            shared = (matrix[start : start + 500] @ matrix.T).tocoo()
            a, b, both = shared.row + start, shared.col, shared.data
            similarity = both / (self.sizes[a] + self.sizes[b] - both)
            for i in np.flatnonzero((a < b) & (similarity >= LOWEST)):
                self.pairs[int(a[i]), int(b[i])] = float(similarity[i])
        self.alike: dict[int, dict[int, float]] = {}
        for (a_, b_), value in self.pairs.items():
            self.alike.setdefault(a_, {})[b_] = value
            self.alike.setdefault(b_, {})[a_] = value

    def nearest(self, row: int, rows: set[int]) -> float:
        """The highest similarity of ``row`` to any of ``rows``; 0 below LOWEST."""
        return max((value for other, value in self.alike.get(row, {}).items() if other in rows), default=0.0)


def removals(workspace: Path, truth: Truth) -> list[tuple[str, ...]]:
    """Rows about Curate's removals: precision to the keeper, and true pairs by similarity."""
    from curate.api import open_run

    run = open_run(workspace)
    documents = run.table("documents").select("doc_id", "id").collect()
    row_of = {doc_id: int(name) for doc_id, name in zip(documents["doc_id"], documents["id"], strict=True)}
    found = run.table("duplicates").collect().to_dicts()
    wrong = stored = 0
    for one in found:
        a, b = sorted((row_of[one["doc_id"]], row_of[one["keeper"]]))
        true = truth.pairs.get((a, b), 0.0)
        wrong += true < THRESHOLD and one["kind"] == "near"
        stored += abs(true - one["similarity"]) > 1e-4 and one["kind"] == "near"
    removed = {row_of[one["doc_id"]] for one in found}
    rows = [
        ("removed documents", f"{len(found):,}"),
        ("removed as near, truly below the threshold to their keeper", str(wrong)),
        ("stored similarity that differs from the true one by more than 1e-4", str(stored)),
    ]
    for low, high in ((0.8, 0.85), (0.85, 0.9), (0.9, 1.01), (0.85, 1.01)):
        pairs = [pair for pair, value in truth.pairs.items() if low <= value < high]
        lost = sum(a in removed or b in removed for a, b in pairs)
        rows.append(
            (
                f"true pairs at {low} ≤ J < {min(high, 1):g}, one member removed",
                f"{lost:,} of {len(pairs):,} ({lost / max(len(pairs), 1):.2%})",
            )
        )
    return rows


def planted(params: MinHashParams) -> list[tuple[str, ...]]:
    """Rows: share of planted pairs that a band joins, against the S-curve's 99.9 % binomial interval."""
    rng = np.random.default_rng(17)
    rows = []
    for similarity in GRADES:
        size = 300
        shared = round(2 * size * similarity / (1 + similarity))
        exact = shared / (2 * size - shared)
        words = rng.integers(0, 2**40, (TRIALS, 2 * size - shared))
        texts = []
        for line in words:
            # One word a shingle: the sets share exactly ``shared`` of them.
            texts += [" ".join(map(str, line[:size])), " ".join(map(str, [*line[:shared], *line[size:]]))]
        keys = band_keys(sign(pa.array(texts), params).signature, params)
        found = int((keys[::2] == keys[1::2]).any(axis=1).sum())
        chance = float(collision_probability(exact, params.bands, params.rows))
        low, high = binom.interval(0.999, TRIALS, chance)
        fits = "yes" if low <= found <= high else "NO"
        rows.append(
            (f"{exact:.3f}", f"{found / TRIALS:.4f}", f"{chance:.4f}", f"{low / TRIALS:.4f}–{high / TRIALS:.4f}", fits)
        )
    return rows


def differences(ours: set[int], theirs: set[int], truth: Truth, texts: list[str]) -> Counter[str]:
    """Documents that one keeps and the other removes, by why."""
    found: Counter[str] = Counter()
    groups = _components(truth, len(texts))
    counted: set[int] = set()
    for row in sorted(ours ^ theirs):
        if row in counted:
            continue
        removed_by_them = row in ours
        kept_there = theirs if removed_by_them else ours
        near = truth.nearest(row, kept_there)
        partners = {
            r
            for r in (theirs - ours if removed_by_them else ours - theirs)
            if truth.alike.get(row, {}).get(r, 0) >= THRESHOLD
        }
        if partners - counted:
            counted |= {row, min(partners - counted)}
            found["another member of the same pair is kept (2 documents)"] += 1
        elif removed_by_them and near < THRESHOLD:
            chained = len(groups[row]) > 1
            why = "only a chain joins it to others" if chained else "no document is truly alike"
            found[f"they remove it, below the threshold to all that they keep: {why}"] += 1
        elif removed_by_them:
            found["they remove it, truly alike to one that they keep: a pair that our bands or stars miss"] += 1
        elif near >= THRESHOLD:
            found["we remove it, truly alike to one that we keep; they do not find the pair"] += 1
        else:
            found["we remove it as an exact copy of normalised words; they read words otherwise"] += 1
        counted.add(row)
    return found


def _components(truth: Truth, n: int) -> list[set[int]]:
    """For each row the rows that true pairs at or above the threshold join it to."""
    pairs = [pair for pair, value in truth.pairs.items() if value >= THRESHOLD]
    a, b = np.array(pairs, np.int64).reshape(-1, 2).T
    labels: NDArray[np.int32]
    _, labels = sp.csgraph.connected_components(sp.csr_matrix((np.ones(len(a)), (a, b)), shape=(n, n)), directed=False)
    groups: dict[int, set[int]] = {}
    for row, label in enumerate(labels.tolist()):
        groups.setdefault(label, set()).add(row)
    return [groups[label] for label in labels.tolist()]


def main() -> None:
    """Print the tables."""
    parser = arguments()
    options = parser.parse_args()
    texts = [text for text in texts_of_file(options.folder) if text.strip()]
    print(f"{len(texts):,} documents: exact similarities of all pairs …", file=sys.stderr, flush=True)
    truth = Truth(texts)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "pages.jsonl"
        source.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
        kept: dict[str, set[int]] = {}
        for system, python in systems(options).items():
            print(f"{system} …", file=sys.stderr, flush=True)
            out = Path(folder) / system
            measure(python, system, source, out, 1)
            kept[system] = {int(line) for line in (out / "kept.txt").read_text().split()}
        table([("removals", ""), *removals(Path(folder) / "curate", truth)], options.markdown)
    print()
    heading = ("planted Jaccard", "found", "1 − (1 − s^r)^b", "99.9 % interval", "inside")
    table([heading, *planted(MinHashParams(ngram=1))], options.markdown)
    print()
    rows = [("system", "kept", "true pairs ≥ 0.8 with both kept", "removed, alike to nothing kept")]
    for system, mine in kept.items():
        both = sum(value >= THRESHOLD and a in mine and b in mine for (a, b), value in truth.pairs.items())
        gone = set(range(len(texts))) - mine
        lonely = sum(truth.nearest(row, mine) < THRESHOLD for row in gone)
        rows.append((system, f"{len(mine):,}", f"{both:,}", f"{lonely:,}"))
    table(rows, options.markdown)
    for system, mine in kept.items():
        if system == "curate":
            continue
        print()
        found = differences(kept["curate"], mine, truth, texts)
        table(
            [(f"Curate against {system}", "cases"), *((why, str(n)) for why, n in found.most_common())],
            options.markdown,
        )


if __name__ == "__main__":
    main()
