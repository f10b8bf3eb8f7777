"""The tables that pass between stages: one Arrow schema each, with one version for all.

Every table has exactly one writing stage. Per-document tables have one file a partition, with the documents table's
file names, sorted by doc_id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SCHEMA_VERSION = 1
"""Raised when what is there changes; a column that is added is null in tables written before."""


def _columns(text: str) -> list[pa.Field]:
    """The columns that a text lists as "name type, name type, …"."""
    pairs = (column.split() for column in text.split(","))
    return [pa.field(name, pa.type_for_alias(kind)) for name, kind in pairs]


def _per_document(text: str, *others: tuple[str, pa.DataType] | pa.Field) -> pa.Schema:
    """``doc_id``, the columns that ``text`` lists, and ``others``."""
    return pa.schema([_ID, *(_columns(text) if text else ()), *others])


_ID = pa.field("doc_id", pa.uint64(), nullable=False)
_SPAN = "start int64, end int64"
_CONTENT_HASH = ("content_hash", pa.binary(16))

DOCUMENTS = _per_document("id string, source string, text large_string, meta string")
VECTOR = pa.list_(pa.float32())
"""A vector that came with a record."""


def documents_schema(vectors: bool = False) -> pa.Schema:
    """Documents; with ``embedding``, the vectors that came with the records, where ``embed.model`` is ``column``."""
    return DOCUMENTS.append(pa.field("embedding", VECTOR)) if vectors else DOCUMENTS


REJECTS = _per_document("source string, path string, position int64, reason string, snippet string")
VERDICTS = _per_document("removed_by string, value float64")
EDITS = _per_document(f"{_SPAN}, reason string, replacement string")
"""Byte spans that are cut (replacement null) or masked; sorted by (doc_id, start), without overlaps."""
DUPLICATES = _per_document(
    "kind string, keeper uint64, component uint64, similarity float32, shared_bands uint16, containment float32"
)
CONTAMINATION = _per_document(f"{_SPAN}, set string, item int64, removed bool")
"""Spans of the edited text, in bytes."""
SHINGLES = _per_document("", ("shingles", pa.large_list(pa.uint64())))
"""Hashes of the word n-grams of a document that shares a bucket with another: distinct, ascending."""
PARAGRAPHS = _per_document(f"{_SPAN}, first_seen uint64")
PARAGRAPH_HASHES = _per_document(_SPAN, _CONTENT_HASH)
CUT = pa.struct(_columns(f"{_SPAN}, replacement string"))
KEPT = _per_document("", ("cuts", pa.list_(CUT)))
"""Documents left after deduplication; the byte spans of each text that are cut (replacement null) or replaced, sorted,
without overlaps."""
SEMANTIC = _per_document("keeper uint64, similarity float32, overlap float32")
"""The cosine that the vectors claim, and the Jaccard similarity of the sets of words."""
SEMANTIC_AUDIT = _per_document(
    "other uint64, outcome string, answer string, similarity float32, overlap float32",
    ("text", pa.large_string()),
    ("other_text", pa.large_string()),
)
"""``other``: the keeper, or what a document that stays was compared with; the beginnings of both texts."""
SELECTION = _per_document("similarity float32, example uint32, kept bool")
"""Where `select` names examples: the cosine to the nearest one, its number, and whether that is near enough."""
CLUSTERS = _per_document("cluster int32, region int32, distance float32")
ORDER = _per_document("position uint64, cluster int32, similarity_to_previous float32")
COPIES = _per_document("copies uint16, reason string", ("stages", pa.list_(pa.uint16())))
"""``stages``: the phase of the curriculum of each copy."""
WINDOWS = pa.schema(
    _columns(
        "set uint16, shard uint32, window uint32, piece uint32, kind uint8, doc_id uint64, copy uint16, start uint32, "
        "length uint32"
    )
)
LEDGER = _per_document(
    "id string, source string, licence string, status string, stage string, reason string, detail string, "
    "keeper uint64, n_tokens uint32, copies uint16, cluster int32, position uint64, "
    "first_set uint16, first_shard uint32, first_window uint32"
)
REMOVED = _per_document(
    "id string, source string, request uint32, how string", ("text_hash", pa.binary(16)), ("n_tokens", pa.uint32())
)
"""Documents that were taken down: by which request, and how each was found; the hash of its text, so that the text is
refused wherever it comes again; its number of tokens, if it had any."""
AUDIT = pa.schema(
    _columns(
        "request uint32, asked_at string, by string, reason string, how string, what string, documents uint64, "
        "tokens uint64, shards uint64"
    )
)
"""Requests for takedown: who asked for what and why; documents that left, tokens that became padding, shards rewritten."""

VALIDATION = "validation"
"""``copies.reason`` of the documents that are kept out of training."""

NO_DOCUMENT = np.uint64((1 << 64) - 1)
"""In shards, the document of a separator's segment."""


def signatures_schema(num_perm: int) -> pa.Schema:
    """Signatures of ``num_perm`` little-endian uint32 a document, with the 128-bit hash of its normalised text."""
    return _per_document("", _CONTENT_HASH, ("signature", pa.binary(4 * num_perm)))


def tokens_schema(vocab_size: int) -> pa.Schema:
    """Token ids, uint16 when the vocabulary allows."""
    item = pa.uint16() if vocab_size <= 65_536 else pa.uint32()
    return _per_document("", ("token_ids", pa.large_list(item)), ("n_tokens", pa.uint32()))


def synthetic_schema(vocab_size: int) -> pa.Schema:
    """Examples of long-range tasks, made of one document each: ``token_ids[at : at + length]`` of each span is
    ``[start : start + length]`` of the source's tokens."""
    spans = [(name, pa.list_(pa.uint32())) for name in ("at", "start", "length")]
    _, *tokens = tokens_schema(vocab_size)
    return _per_document("task string, source_id uint64", *tokens, *spans)


def neighbors_schema(k: int) -> pa.Schema:
    """One file a region, sorted by doc_id: little-endian int32[k] row numbers of the nearest documents in that file, -1 for none;
    whether the document is in a group that stays together."""
    return _per_document("", ("neighbors", pa.binary(4 * k)), ("grouped", pa.bool_()))


def embeddings_schema(dim: int, keywords: int = 0) -> pa.Schema:
    """int8[dim] vectors with the scale that turns them back into floats; ``held``: the share of the document's squared TF-IDF
    length that `lexical` holds, null for other embedders; little-endian int32[keywords] terms, if any.
    """
    terms = [("keywords", pa.binary(4 * keywords))] if keywords else []
    return _per_document("", ("vector", pa.binary(dim)), ("scale", pa.float32()), ("held", pa.float32()), *terms)


_FIXED = {
    "rejects": REJECTS,
    "verdicts": VERDICTS,
    "edits": EDITS,
    "signals": _per_document("n_bytes int64, n_chars int64"),
    "duplicates": DUPLICATES,
    "contamination": CONTAMINATION,
    "shingles": SHINGLES,
    "paragraph_hashes": PARAGRAPH_HASHES,
    "paragraphs": PARAGRAPHS,
    "kept": KEPT,
    "semantic": SEMANTIC,
    "semantic_audit": SEMANTIC_AUDIT,
    "selection": SELECTION,
    "clusters": CLUSTERS,
    "order": ORDER,
    "copies": COPIES,
    "windows": WINDOWS,
    "ledger": LEDGER,
    "removed": REMOVED,
    "audit": AUDIT,
}


def table_schema(table: str, details: Mapping[str, Any]) -> pa.Schema | None:
    """The schema of a table whose snapshot has ``details``; None for ``shards``. See ``curate.base.catalog``.

    Raises:
        KeyError: ``details`` lacks what decides a type, or there is no such table.
    """
    match table:
        case "documents":
            return documents_schema("vectors" in details)
        case "signatures":
            return signatures_schema(details["minhash"]["bands"] * details["minhash"]["rows"])
        case "tokens":
            return tokens_schema(int(details["vocab_size"]))
        case "synthetic":
            return synthetic_schema(int(details["vocab_size"]))
        case "embeddings":
            return embeddings_schema(int(details["dim"]), int(details.get("keywords", 0)))
        case "neighbors":
            return neighbors_schema(int(details["neighbors"]))
        case "shards":
            return None
    return _FIXED[table]


Tokens = NDArray[np.int64] | None


def counters_of(table: str, rows: pa.Table, n_tokens: Tokens = None) -> dict[str, int]:
    """{counter: number} of some rows of a table; empty for tables whose counters are no functions of rows.

    Counters are additive: those of a table are the sums of those of its files. Some depend on the rows at hand, such as
    ``vectors.<length>``, and are absent where they would be 0.

    Args:
        table: its name.
        rows: of the table, with the columns that are counted.
        n_tokens: int64[n], tokens of each row's document. Needed for ``copies`` alone.
    """
    count = _COUNTERS.get(table)
    return count(rows, n_tokens) if count else {}


def _by_value(column: pa.ChunkedArray, prefix: str) -> dict[str, int]:
    return {f"{prefix}{entry['values']}": entry["counts"] for entry in column.value_counts().to_pylist()}


def _sum(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


def _documents(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    counters = {"documents": rows.num_rows, "text_bytes": _sum(pc.binary_length(rows["text"]))}
    if "embedding" in rows.column_names:
        counters |= _by_value(pc.fill_null(pc.list_value_length(rows["embedding"]), 0), "vectors.")
    return counters


def _tokens(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    return {"documents": rows.num_rows, "tokens": _sum(rows["n_tokens"])}


def _copies(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    if n_tokens is None:
        raise ValueError("the counters of copies need the number of tokens of each document")
    copies = rows["copies"].to_numpy().astype(np.int64)
    held_out = pc.equal(rows["reason"], VALIDATION).fill_null(False).to_numpy()
    return {
        "documents": int((copies > 0).sum()),
        "copies": int(copies.sum()),
        "not_drawn": int((copies == 0).sum()),
        "tokens": int((copies * n_tokens).sum()),
        "validation.documents": int(held_out.sum()),
        "validation.tokens": int(n_tokens[held_out].sum()),
    }


def _ledger(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    counters = Counter({"kept": 0, "removed": 0, "rejected": 0})
    ends = rows.group_by(["status", "stage", "reason"], use_threads=False).aggregate([([], "count_all")])
    for end in ends.to_pylist():
        counters[end["status"]] += end["count_all"]
        if end["status"] == "removed":
            counters[f"removed.{end['stage']}.{end['reason']}"] += end["count_all"]
        elif end["status"] == "rejected":
            counters[f"rejected.{end['reason']}"] += end["count_all"]
    return dict(counters)


def _kept(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    return {"documents": rows.num_rows, "cut": _sum(pc.greater(pc.list_value_length(rows["cuts"]), 0))}


_COUNTERS: dict[str, Callable[[pa.Table, Tokens], dict[str, int]]] = {
    "documents": _documents,
    "signals": lambda rows, _: {"documents": rows.num_rows, "text_bytes": _sum(rows["n_bytes"])},
    "edits": lambda rows, _: {"edits": rows.num_rows},
    "signatures": lambda rows, _: {"documents": rows.num_rows},
    "duplicates": lambda rows, _: {"removed.exact": 0, "removed.near": 0} | _by_value(rows["kind"], "removed."),
    "kept": _kept,
    "tokens": _tokens,
    "embeddings": lambda rows, _: {"documents": rows.num_rows, "zero_vectors": _sum(pc.equal(rows["scale"], 0))},
    "selection": lambda rows, _: {"near": _sum(rows["kept"]), "not_near": _sum(pc.invert(rows["kept"]))},
    "semantic": lambda rows, _: {"semantic": rows.num_rows},
    "copies": _copies,
    "synthetic": lambda rows, n_tokens: _tokens(rows, n_tokens) | _by_value(rows["task"], "task."),
    "ledger": _ledger,
}
