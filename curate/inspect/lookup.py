"""Kept documents that are like a new text, found without reading the corpus.

The signatures are read one row group at a time and compared by band keys; only the texts of documents that share a band
with the new text are read.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.columns import IDs, bytes_matrix, column, flat_tokens, is_in, rows_without, signature_matrix
from curate.base.edits import apply_edits
from curate.base.errors import RequestError
from curate.base.ids import ordinal_of
from curate.dedup.candidates import containment, jaccard
from curate.dedup.minhash import MinHashParams, band_keys, equal_counts, params_of, sign
from curate.dedup.shingles import cover, repeated, shingle_sets, window_hashes
from curate.inspect.reader import Answer, RunReader
from curate.tables.parquet import damaged, reraise_as_damaged

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

MAX_CANDIDATES = 1_000
"""Texts that one lookup reads, at most: those nearest by signature."""


@dataclass(frozen=True, slots=True)
class Match(Answer):
    """A kept document that shares a band with the text.

    Attributes:
        doc_id, id, source: of the document.
        similarity: true Jaccard of the shingle sets.
        containment: share of the smaller set that is in the other.
        shared_bands: bands that both signatures share.
        exact: whether the normalised words are the same.
        duplicate: whether the run's recipe would remove the text as a duplicate.
    """

    doc_id: int
    id: str
    source: str
    similarity: float
    containment: float
    shared_bands: int
    exact: bool
    duplicate: bool


def signature_params(run: RunReader) -> MinHashParams:
    """The parameters of the run's signatures.

    Raises:
        RequestError: the run has no signatures.
        WorkspaceError: their manifest is damaged.
    """
    if not run.has("signatures"):
        raise RequestError(f"{run.url} has no signatures yet; run its recipe at least until dedup")
    signatures = run.snapshot("signatures")
    try:
        return params_of(signatures.details)
    except ValueError as error:
        raise damaged(signatures.path, error) from None


def kept_signatures(run: RunReader) -> Iterator[pa.Table]:
    """(doc_id, content_hash, signature) of the documents that deduplication kept, one row group at a time."""
    removals = [run.snapshots[name].named() for name in ("duplicates", "semantic") if run.has(name)]
    for file in run.parquet_files("signatures"):
        removed = [run.read(files[file.name], ["doc_id"]) for files in removals if file.name in files]
        gone = np.sort(np.concatenate([np.zeros(0, np.uint64), *(column(rows, "doc_id") for rows in removed)]))
        for table in run.batches(file):
            yield rows_without(table, gone)


def lookup(run: RunReader, text: str) -> list[Match]:
    """Kept documents that share a band (or all words) with ``text``, the most similar first.

    If more than :data:`MAX_CANDIDATES` do, only those nearest by signature are compared.

    Raises:
        RequestError: the run has no signatures, or the text has no words.
    """
    params = signature_params(run)
    new = pa.array([text], pa.large_string())
    signed = sign(new, params)
    if signed.n_words[0] == 0:
        raise RequestError("the text has no words; there is nothing to compare")
    ids, shared, exact = _candidates(run, params, signed.signature, signed.content_hash)
    if not len(ids):
        return []
    documents = run.rows("documents", ids, ["id", "source", "text"])
    texts = _edited(run, ids, documents["text"])
    values, offsets = shingle_sets(pa.chunked_array([new, texts]), params.ngram)
    first, others = np.zeros(len(ids), np.int64), np.arange(1, len(ids) + 1)
    similarity = jaccard(values, offsets, first, others)
    inside = containment(values, offsets, first, others)
    near = run.recipe.dedup.near if run.recipe.dedup != "off" else "off"
    threshold = 1.0 if near == "off" else near.threshold
    matches = [
        Match(
            **row,
            similarity=round(float(similarity[i]), 4),
            containment=round(float(inside[i]), 4),
            shared_bands=int(shared[i]),
            exact=bool(exact[i]),
            duplicate=bool(exact[i] or similarity[i] >= threshold),
        )
        for i, row in enumerate(documents.select(["doc_id", "id", "source"]).to_pylist())
    ]
    return sorted(matches, key=lambda match: (not match.exact, -match.similarity, match.doc_id))


def _candidates(
    run: RunReader, params: MinHashParams, signature: NDArray[np.uint32], content_hash: NDArray[np.uint8]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.bool_]]:
    """(doc_ids ascending, shared bands, equality) of at most MAX_CANDIDATES documents, the nearest by signature."""
    wanted = band_keys(signature, params)
    best: list[NDArray[Any]] = [
        np.zeros(0, np.uint64),
        np.zeros(0, np.int64),
        np.zeros(0, np.bool_),
        np.zeros(0, np.int64),
    ]
    for table in kept_signatures(run):
        signatures = signature_matrix(table["signature"])
        shared = (band_keys(signatures, params) == wanted).sum(axis=1)
        exact = (bytes_matrix(table["content_hash"]) == content_hash).all(axis=1)
        rows = np.flatnonzero((shared > 0) | exact)
        if not len(rows):
            continue
        both = np.concatenate([signature, signatures[rows]])
        equal = equal_counts(both, np.zeros(len(rows), np.int64), np.arange(1, len(rows) + 1))
        new = (column(table, "doc_id")[rows], shared[rows], exact[rows], equal)
        ids, _, same, near = best = [np.concatenate(pair) for pair in zip(best, new, strict=True)]
        first = np.lexsort([ids, -near, ~same])[:MAX_CANDIDATES]
        best = [values[first] for values in best]
    order = np.argsort(best[0])
    return best[0][order], best[1][order], best[2][order]


def _edited(run: RunReader, ids: NDArray[np.uint64], texts: pa.ChunkedArray) -> pa.Array:
    """The texts of documents (ascending doc_ids), with edits applied."""
    whole = texts.combine_chunks()
    edits = run.rows("edits", ids, ["doc_id", "start", "end", "replacement"])
    if not edits.num_rows:
        return whole
    edits = edits.sort_by([("doc_id", "ascending"), ("start", "ascending")])
    rows, start, end = (edits[name].to_numpy() for name in ("doc_id", "start", "end"))
    with reraise_as_damaged(f"the table edits of {run.url}"):
        return apply_edits(whole, np.searchsorted(ids, rows), start, end, edits["replacement"])


def lsh_index(run: RunReader) -> MinHashLSH:
    """A ``datasketch.MinHashLSH`` over the kept documents, by doc_id; all of it in memory (about 3 KB a document).

    Raises:
        RequestError: the run has no signatures.
    """
    from datasketch import MinHashLSH

    params = signature_params(run)
    index = MinHashLSH(num_perm=params.num_perm, params=(params.bands, params.rows))
    with index.insertion_session() as session:
        for table in kept_signatures(run):
            rows = signature_matrix(table["signature"])
            for doc_id, values in zip(table["doc_id"].to_pylist(), rows, strict=True):
                session.insert(doc_id, _sketch(params, values))
    return index


def minhash_of(run: RunReader, text: str) -> MinHash:
    """The ``datasketch.MinHash`` of a text, comparable with those in :func:`lsh_index`.

    Raises:
        RequestError: the run has no signatures.
    """
    params = signature_params(run)
    return _sketch(params, sign(pa.array([text], pa.large_string()), params).signature[0])


def _sketch(params: MinHashParams, values: NDArray[np.uint32]) -> MinHash:
    from datasketch import MinHash

    return MinHash(num_perm=params.num_perm, seed=params.seed, scheme="affine32", hashvalues=values)


WINDOWS_AT_ONCE = 64_000_000
"""Windows whose hashes are in memory at the same time (512 MB, and as much again during sorting)."""

EXAMPLES = 10
"""Most frequent substrings that are shown."""

SHOWN_TOKENS = 60


def substrings(run: RunReader, tokens: int = 50) -> dict[str, Any]:
    """Share of the tokens in substrings of at least ``tokens`` tokens that occur more than once.

    Reads the tokens twice for every :data:`WINDOWS_AT_ONCE` of them. Besides the hashes it holds one byte for each token of
    a partition, and one bit for each token of the corpus.

    Returns:
        tokens (least length), total, covered, share, documents, documents_touched, sources {name: [covered, total]},
        examples [{occurrences, id, text}].

    Raises:
        RequestError: the run has no tokens yet, or ``tokens`` is below 2.
    """
    if tokens < 2:
        raise RequestError(f"--tokens {tokens} must be at least 2")
    snapshot = run.snapshot("tokens")
    total = int(snapshot.counters.get("tokens", 0))
    passes = max(1, -(-total // WINDOWS_AT_ONCE))
    covered: dict[str, NDArray[np.uint8]] = {}
    best: list[Frequent] = []
    for number in range(passes):
        low, high = (np.uint64(min(k * 2**64 // passes, 2**64 - 1)) for k in (number, number + 1))
        parts = [hashes[_in(hashes, valid, low, high)] for _, hashes, valid in _partitions(run, tokens)]
        values, counts = repeated(np.concatenate(parts or [np.zeros(0, np.uint64)]))
        del parts
        for name, hashes, valid in _partitions(run, tokens):
            inside = np.flatnonzero(_in(hashes, valid, low, high))
            starts = inside[is_in(hashes[inside], values)]
            at = np.searchsorted(values, hashes[starts])
            marks = np.zeros(len(hashes), np.uint8)
            if name in covered:
                marks = np.unpackbits(covered[name], count=len(hashes))
            cover(starts, tokens, marks)
            covered[name] = np.packbits(marks)
            best = _best(best, counts[at], values[at], name, starts, tokens)
    return {"tokens": tokens, "total": total, **_totals(run, covered), "examples": _examples(run, best, tokens)}


def _in(hashes: NDArray[np.uint64], valid: NDArray[np.bool_], low: np.uint64, high: np.uint64) -> NDArray[np.bool_]:
    return valid & (hashes >= low) & ((hashes < high) | (high == np.uint64(2**64 - 1)))


def _partitions(run: RunReader, n: int) -> Iterator[tuple[str, NDArray[np.uint64], NDArray[np.bool_]]]:
    """(partition, hashes, valid) of one partition after the other."""
    for file in run.snapshots["tokens"].files:
        flat, offsets, _ = _tokens(run, file.name)
        yield file.name, *window_hashes(flat, offsets, n)


def _tokens(run: RunReader, name: str) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.uint64]]:
    """(tokens, offsets, doc_ids) of a partition."""
    table = run.read(run.snapshots["tokens"].named()[name], ["doc_id", "token_ids"])
    flat, offsets = flat_tokens(table)
    return flat, offsets, table["doc_id"].to_numpy()


Frequent = tuple[int, int, str, int]
"""(occurrences, hash, partition, start) of a window of tokens."""


def _best(
    best: list[Frequent], counts: NDArray[np.int64], values: IDs, name: str, starts: NDArray[np.int64], n: int
) -> list[Frequent]:
    """The most frequent windows so far; of overlapping ones, at most one."""
    known = {value for _, value, _, _ in best}
    bound = min(best)[0] if len(best) == 4 * EXAMPLES else 0
    end = -1
    rows = np.flatnonzero(counts > bound)
    for count, value, start in zip(counts[rows].tolist(), values[rows].tolist(), starts[rows].tolist(), strict=True):
        if start < end or value in known:
            continue
        end = start + n
        known.add(value)
        best.append((count, value, name, start))
        if len(best) > 16 * EXAMPLES:
            best = heapq.nlargest(4 * EXAMPLES, best)
    return heapq.nlargest(4 * EXAMPLES, best)


def _totals(run: RunReader, covered: dict[str, NDArray[np.uint8]]) -> dict[str, Any]:
    by_source: dict[str, list[int]] = {}
    documents = touched = 0
    units = {unit["ordinal"]: unit["source"] for unit in run.snapshots["documents"].details["units"]}
    for name, packed in covered.items():
        _, offsets, _ = _tokens(run, name)
        marks = np.unpackbits(packed, count=int(offsets[-1])).astype(np.int64)
        inside = np.diff(np.concatenate([[0], np.cumsum(marks)])[offsets])
        documents += len(inside)
        touched += int((inside > 0).sum())
        entry = by_source.setdefault(units[ordinal_of(name)], [0, 0])
        entry[0] += int(marks.sum())
        entry[1] += len(marks)
    marked, total = (sum(entry[i] for entry in by_source.values()) for i in (0, 1))
    return {
        "covered": marked,
        "share": round(marked / total, 4) if total else 0.0,
        "documents": documents,
        "documents_touched": touched,
        "sources": dict(sorted(by_source.items())),
    }


def _examples(run: RunReader, best: list[Frequent], n: int) -> list[dict[str, Any]]:
    from tokenizers import Tokenizer

    if not best:
        return []
    tokenizer = Tokenizer.from_buffer(run.storage.read(run.snapshots["tokens"].details["tokenizer"]["path"]))
    examples: list[dict[str, Any]] = []
    shown: list[tuple[str, int]] = []
    for count, _, name, start in sorted(best, key=lambda window: (-window[0], window[2], window[3])):
        if len(examples) == EXAMPLES or any(other == name and abs(start - at) < n for other, at in shown):
            continue
        shown.append((name, start))
        flat, offsets, ids = _tokens(run, name)
        row = int(np.searchsorted(offsets, start, side="right")) - 1
        text = tokenizer.decode(flat[start : start + min(n, SHOWN_TOKENS)].tolist(), skip_special_tokens=False)
        examples.append({"occurrences": count, "doc_id": int(ids[row]), "text": text})
    return examples
