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


_ID = pa.field("doc_id", pa.uint64(), nullable=False)

DOCUMENTS = pa.schema(
    [_ID, ("id", pa.string()), ("source", pa.string()), ("text", pa.large_string()), ("meta", pa.string())]
)
VECTOR = pa.list_(pa.float32())
"""A vector that came with a record."""


def documents_schema(vectors: bool = False) -> pa.Schema:
    """Documents; with ``embedding``, the vectors that came with the records, where ``embed.model`` is ``column``."""
    return DOCUMENTS.append(pa.field("embedding", VECTOR)) if vectors else DOCUMENTS


REJECTS = pa.schema(
    [
        _ID,
        ("source", pa.string()),
        ("path", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        ("snippet", pa.string()),
    ]
)
VERDICTS = pa.schema([_ID, ("removed_by", pa.string()), ("value", pa.float64())])
EDITS = pa.schema(
    [_ID, ("start", pa.int64()), ("end", pa.int64()), ("reason", pa.string()), ("replacement", pa.string())]
)
"""Byte spans that are cut (replacement null) or masked; sorted by (doc_id, start), without overlaps."""
DUPLICATES = pa.schema(
    [
        _ID,
        ("kind", pa.string()),
        ("keeper", pa.uint64()),
        ("component", pa.uint64()),
        ("similarity", pa.float32()),
        ("shared_bands", pa.uint16()),
        ("containment", pa.float32()),
    ]
)
CONTAMINATION = pa.schema(  # spans of the edited text, in bytes
    [
        _ID,
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("set", pa.string()),
        ("item", pa.int64()),
        ("removed", pa.bool_()),
    ]
)
SHINGLES = pa.schema([_ID, ("shingles", pa.large_list(pa.uint64()))])
"""Hashes of the word n-grams of a document that shares a bucket with another: distinct, ascending."""
PARAGRAPHS = pa.schema([_ID, ("start", pa.int64()), ("end", pa.int64()), ("first_seen", pa.uint64())])
PARAGRAPH_HASHES = pa.schema([_ID, ("start", pa.int64()), ("end", pa.int64()), ("content_hash", pa.binary(16))])
CUT = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("replacement", pa.string())])
KEPT = pa.schema([_ID, ("cuts", pa.list_(CUT))])
"""Documents left after deduplication; the byte spans of each text that are cut (replacement null) or replaced, sorted,
without overlaps."""
SEMANTIC = pa.schema([_ID, ("keeper", pa.uint64()), ("similarity", pa.float32())])
SELECTION = pa.schema([_ID, ("similarity", pa.float32()), ("example", pa.uint32()), ("kept", pa.bool_())])
"""Where `select` names examples: the cosine to the nearest one, its number, and whether that is near enough."""
CLUSTERS = pa.schema([_ID, ("cluster", pa.int32()), ("region", pa.int32()), ("distance", pa.float32())])
ORDER = pa.schema([_ID, ("position", pa.uint64()), ("cluster", pa.int32()), ("similarity_to_previous", pa.float32())])
COPIES = pa.schema(
    [
        _ID,
        ("copies", pa.uint16()),
        ("reason", pa.string()),
        ("stages", pa.list_(pa.uint16())),
    ]  # of the curriculum, by copy
)
WINDOWS = pa.schema(
    [
        ("set", pa.uint16()),
        ("shard", pa.uint32()),
        ("window", pa.uint32()),
        ("piece", pa.uint32()),
        ("kind", pa.uint8()),
        ("doc_id", pa.uint64()),
        ("copy", pa.uint16()),
        ("start", pa.uint32()),
        ("length", pa.uint32()),
    ]
)
LEDGER = pa.schema(
    [
        _ID,
        ("id", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("status", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("keeper", pa.uint64()),
        ("n_tokens", pa.uint32()),
        ("copies", pa.uint16()),
        ("cluster", pa.int32()),
        ("position", pa.uint64()),
        ("first_set", pa.uint16()),
        ("first_shard", pa.uint32()),
        ("first_window", pa.uint32()),
    ]
)

REMOVED = pa.schema(
    [
        _ID,
        ("id", pa.string()),
        ("source", pa.string()),
        ("request", pa.uint32()),
        ("how", pa.string()),
        ("text_hash", pa.binary(16)),
        ("n_tokens", pa.uint32()),
    ]
)
"""Documents that were taken down: by which request, and how each was found; the hash of its text, so that the text is
refused wherever it comes again; its number of tokens, if it had any."""
AUDIT = pa.schema(
    [
        ("request", pa.uint32()),
        ("asked_at", pa.string()),
        ("by", pa.string()),
        ("reason", pa.string()),
        ("how", pa.string()),
        ("what", pa.string()),
        ("documents", pa.uint64()),
        ("tokens", pa.uint64()),
        ("shards", pa.uint64()),
    ]
)
"""Requests for takedown: who asked for what and why; documents that left, tokens that became padding, shards written anew."""

VALIDATION = "validation"
"""``copies.reason`` of the documents that are kept out of training."""

NO_DOCUMENT = np.uint64((1 << 64) - 1)
"""In shards, the document of a separator's segment."""


def signatures_schema(num_perm: int) -> pa.Schema:
    """Signatures of ``num_perm`` little-endian uint32 a document, with the 128-bit hash of its normalised text."""
    return pa.schema([_ID, ("content_hash", pa.binary(16)), ("signature", pa.binary(4 * num_perm))])


def tokens_schema(vocab_size: int) -> pa.Schema:
    """Token ids, uint16 when the vocabulary allows."""
    item = pa.uint16() if vocab_size <= 65_536 else pa.uint32()
    return pa.schema([_ID, ("token_ids", pa.large_list(item)), ("n_tokens", pa.uint32())])


def synthetic_schema(vocab_size: int) -> pa.Schema:
    """Examples of long-range tasks, made of one document each: ``token_ids[at : at + length]`` of each span is
    ``[start : start + length]`` of the source's tokens."""
    spans = [(name, pa.list_(pa.uint32())) for name in ("at", "start", "length")]
    token_ids = tokens_schema(vocab_size).field("token_ids")
    return pa.schema(
        [_ID, ("task", pa.string()), ("source_id", pa.uint64()), token_ids, ("n_tokens", pa.uint32()), *spans]
    )


def neighbors_schema(k: int) -> pa.Schema:
    """One file a region, sorted by doc_id: little-endian int32[k] row numbers of the nearest documents in that file, -1 for none;
    whether the document is in a group that stays together."""
    return pa.schema([_ID, ("neighbors", pa.binary(4 * k)), ("grouped", pa.bool_())])


def embeddings_schema(dim: int, keywords: int = 0) -> pa.Schema:
    """int8[dim] vectors with the scale that turns them back into floats; little-endian int32[keywords] terms, if any."""
    fields: list[Any] = [_ID, ("vector", pa.binary(dim)), ("scale", pa.float32())]
    return pa.schema([*fields, ("keywords", pa.binary(4 * keywords))] if keywords else fields)


_FIXED = {
    "rejects": REJECTS,
    "verdicts": VERDICTS,
    "edits": EDITS,
    "signals": pa.schema([_ID, ("n_bytes", pa.int64()), ("n_chars", pa.int64())]),
    "duplicates": DUPLICATES,
    "contamination": CONTAMINATION,
    "shingles": SHINGLES,
    "paragraph_hashes": PARAGRAPH_HASHES,
    "paragraphs": PARAGRAPHS,
    "kept": KEPT,
    "semantic": SEMANTIC,
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


def _by_value(table: pa.Table, name: str, prefix: str = "") -> dict[str, int]:
    return {f"{prefix}{entry['values']}": entry["counts"] for entry in table[name].value_counts().to_pylist()}


def _sum(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)


def _documents(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    found = {"documents": rows.num_rows, "text_bytes": _sum(pc.binary_length(rows["text"]))}
    if "embedding" in rows.column_names:
        lengths = pc.fill_null(pc.list_value_length(rows["embedding"]), 0)
        found |= {f"vectors.{entry['values']}": entry["counts"] for entry in lengths.value_counts().to_pylist()}
    return found


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
    found = Counter({"kept": 0, "removed": 0, "rejected": 0})
    ends = rows.select(["status", "stage", "reason"]).group_by(["status", "stage", "reason"], use_threads=False)
    for end in ends.aggregate([([], "count_all")]).to_pylist():
        found[end["status"]] += end["count_all"]
        if end["status"] == "removed":
            found[f"removed.{end['stage']}.{end['reason']}"] += end["count_all"]
        elif end["status"] == "rejected":
            found[f"rejected.{end['reason']}"] += end["count_all"]
    return dict(found)


def _kept(rows: pa.Table, n_tokens: Tokens) -> dict[str, int]:
    return {"documents": rows.num_rows, "cut": _sum(pc.greater(pc.list_value_length(rows["cuts"]), 0))}


_COUNTERS: dict[str, Callable[[pa.Table, Tokens], dict[str, int]]] = {
    "documents": _documents,
    "signals": lambda rows, _: {"documents": rows.num_rows, "text_bytes": _sum(rows["n_bytes"])},
    "edits": lambda rows, _: {"edits": rows.num_rows},
    "signatures": lambda rows, _: {"documents": rows.num_rows},
    "duplicates": lambda rows, _: {"removed.exact": 0, "removed.near": 0} | _by_value(rows, "kind", "removed."),
    "kept": _kept,
    "tokens": lambda rows, _: {"documents": rows.num_rows, "tokens": _sum(rows["n_tokens"])},
    "embeddings": lambda rows, _: {"documents": rows.num_rows, "zero_vectors": _sum(pc.equal(rows["scale"], 0))},
    "selection": lambda rows, _: {"near": _sum(rows["kept"]), "not_near": _sum(pc.invert(rows["kept"]))},
    "semantic": lambda rows, _: {"semantic": rows.num_rows},
    "copies": _copies,
    "synthetic": lambda rows, _: {
        "documents": rows.num_rows,
        "tokens": _sum(rows["n_tokens"]),
        **_by_value(rows, "task", "task."),
    },
    "ledger": _ledger,
}
