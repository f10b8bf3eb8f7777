"""The catalogue: every stage, table, piece kind and path of a workspace and of a shard set, said once.

``verify``, ``--until``, ``clean``, the mirror, the ledger, takedowns and the reference pages read it. Importing it loads
neither NumPy nor Arrow; :meth:`Table.schema` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

STAGES = (
    "ingest",
    "quality",
    "dedup",
    "tokenize",
    "embed",
    "cluster",
    "select",
    "order",
    "upsample",
    "synthetic",
    "pack",
    "shards",
    "ledger",
)
"""Names of the stages in the order in which they run. One name may stand for several entries of the plan."""

REMOVING_STEPS: dict[str, str] = {
    "ingest": "records that could not be read",
    "quality": "documents that a quality rule removed",
    "dedup.decontaminate": "documents that overlap with an evaluation set",
    "dedup.duplicates": "exact and near duplicates",
    "dedup.paragraphs": "paragraphs that an earlier document has too",
    "select": "documents that are not near enough to the examples",
    "order.dropped_cluster": "documents of clusters that the recipe drops",
    "dedup.semantic": "semantic duplicates",
}
"""Steps that remove something, in the order in which they run: what each counts."""

Files = Literal["partition", "unit", "region", "shard", "workspace"]
"""What there is one file of a table for.

partition: a partition of ``documents``; unit: a part of the inputs; region: a region of ``clusters``; shard: a shard of
the plan; workspace: one file in all.
"""

Documents = Literal["", "accepted", "passed", "clean", "left", "path"]
"""A set of documents; '' where rows are not about documents."""

DOCUMENTS: dict[Documents, str] = {
    "accepted": "documents",
    "passed": "documents that no rule removed",
    "clean": "documents that neither a rule nor an evaluation set removed",
    "left": "documents left after deduplication",
    "path": "documents that are no semantic duplicates, in no dropped cluster, and near the examples",
}
"""Meaning of the sets of documents, each a subset of the one before it."""


@dataclass(frozen=True, slots=True)
class Table:
    """What is known of a table without looking at it.

    Attributes:
        name: its name, and the name of its folder in the workspace.
        stage: the stage that writes it; '' for tables of the workspace, which no stage writes.
        row: what a row stands for ("One row for each …").
        files: what there is one file for.
        documents: the documents that its rows are about; '' where they are not about documents.
        every: whether each of these documents has a row.
        order: columns by which the rows of a file are sorted.
        open_columns: has more columns than the schema says (``signals``: one for each statistic).
    """

    name: str
    stage: str
    row: str
    files: Files = "partition"
    documents: Documents = ""
    every: bool = False
    order: tuple[str, ...] = ("doc_id",)
    open_columns: bool = False

    @property
    def one_row(self) -> bool:
        """Whether a document has at most one row."""
        return self.order == ("doc_id",)

    @property
    def per_document(self) -> bool:
        """Whether it is a side-car: one file for each partition of ``documents``, with rows about its documents."""
        return self.files == "partition" and bool(self.documents)

    def schema(self, details: Mapping[str, Any]) -> pa.Schema | None:
        """The schema of its Parquet files, of which ``details`` of the snapshot may decide types and columns.

        None for ``shards``, whose formats have their own.

        Raises:
            KeyError: ``details`` lacks what decides a type.
        """
        from curate.base.schemas import table_schema

        return table_schema(self.name, details)


_TABLES = (
    Table("documents", "ingest", "accepted input record", documents="accepted", every=True),
    Table("rejects", "ingest", "record that could not be read", files="unit"),
    Table(
        "signals", "quality", "document: its statistics and scores", documents="accepted", every=True, open_columns=True
    ),
    Table(
        "edits",
        "quality",
        "span cut from a text, or masked (`replacement`)",
        documents="accepted",
        order=("doc_id", "start"),
    ),
    Table(
        "verdicts",
        "quality",
        "document: the first rule that removes it, null where it is kept, and the measured value",
        documents="accepted",
        every=True,
    ),
    Table(
        "contamination",
        "dedup",
        "run of words that an evaluation item has too",
        documents="passed",
        order=("doc_id", "start"),
    ),
    Table("signatures", "dedup", "document that no rule removed (112 permutations)", documents="clean", every=True),
    Table("shingles", "dedup", "document that shares a bucket with another", documents="clean"),
    Table("duplicates", "dedup", "removed exact or near duplicate", documents="clean"),
    Table("paragraph_hashes", "dedup", "paragraph", documents="left", order=("doc_id", "start")),
    Table("paragraphs", "dedup", "duplicate paragraph", documents="left", order=("doc_id", "start")),
    Table(
        "kept",
        "dedup",
        "document left after deduplication: the spans of its text that are cut or replaced",
        documents="left",
        every=True,
    ),
    Table(
        "tokens",
        "tokenize",
        "document left after deduplication (vocabulary up to 65,536)",
        documents="left",
        every=True,
    ),
    Table("embeddings", "embed", "document left after deduplication (384 dimensions)", documents="left", every=True),
    Table("clusters", "cluster", "document left after deduplication", documents="left", every=True),
    Table(
        "selection",
        "select",
        "document compared with the examples that `select` names, and whether it is near enough",
        documents="left",
    ),
    Table("order", "order", "document on the path", documents="path", every=True),
    Table("neighbors", "order", "document on the path (20 neighbours)", files="region", documents="path"),
    Table("semantic", "order", "removed semantic duplicate", documents="left"),
    Table(
        "semantic_audit",
        "order",
        "sampled claim of vectors that two documents are duplicates: `removed`, or `refused` by the texts",
        files="region",
        documents="left",
        order=("doc_id", "other"),
    ),
    Table("copies", "upsample", "document on the path", documents="path", every=True),
    Table("synthetic", "synthetic", "synthetic example", documents="path"),
    Table(
        "windows",
        "pack",
        "piece of a context window, by set, shard, window and piece",
        files="shard",
        order=("set", "shard", "window", "piece"),
    ),
    Table("shards", "shards", "context window", files="shard", order=()),
    Table("ledger", "ledger", "input record, rejects included", documents="accepted", every=True),
    Table("removed", "", "document that was taken down", files="workspace"),
    Table("audit", "", "request for takedown", files="workspace", order=("request",)),
)

TABLES: dict[str, Table] = {table.name: table for table in _TABLES}
"""Every table by name, in the order in which a run commits them; those of the workspace come last."""

OF_WORKSPACE = tuple(table.name for table in _TABLES if not table.stage)
"""Tables that no stage writes: every run carries them on."""


# --- pieces of windows

KIND_DOCUMENT, KIND_SYNTHETIC, KIND_END, KIND_REMOVED, KIND_BEGIN, KIND_SEPARATOR = 0, 1, 2, 3, 4, 5
PIECE_KINDS: dict[int, str] = {
    KIND_DOCUMENT: "tokens of a document",
    KIND_SYNTHETIC: "tokens of a synthetic example",
    KIND_END: "the end-of-text token after a text",
    KIND_REMOVED: "what was taken down: names no document any more, and its tokens are padding",
    KIND_BEGIN: "the beginning-of-text token before a text",
    KIND_SEPARATOR: "the tokens between two documents, which belong to neither",
}
"""Meaning of each value of ``windows.kind``."""


def holds_text(kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """bool[n]: which pieces of windows hold tokens of a document or of a synthetic example."""
    return kinds < KIND_END


def is_control(kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """bool[n]: which pieces of windows are tokens that no text has: where documents begin and end, and between them."""
    return (kinds == KIND_END) | (kinds == KIND_BEGIN) | (kinds == KIND_SEPARATOR)


def names_document(kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """bool[n]: which pieces of windows are of a document or example, its control tokens included."""
    return (kinds != KIND_REMOVED) & (kinds != KIND_SEPARATOR)


# --- paths of a workspace

RUN = "run.json"
"""Names the manifest of every table; written last."""
HISTORY = "history"
"""Folder of former ``run.json``."""
LEASE = "lease.json"
"""Says which live run holds the workspace."""
MARKS = "inputs/marks.json"
"""Cache of the checksums of local inputs by (size, modification time), so that they are not read again."""
TMP = "tmp"
"""Folder of intermediates: ``tmp/<stage key>/<step>/…``."""
ARTEFACTS = "artefacts"
"""Folder of fitted models: ``artefacts/<key>/<name>.json`` names the file."""
MANIFEST = "_manifest.json"
"""Name of a snapshot's manifest: ``<table>/<stage key>/<snapshot id>/_manifest.json``."""
RECORD = ".record.json"
"""Suffix of the record of a finished task."""


def former_path(number: int) -> str:
    """Path of the former ``run.json`` with a number."""
    return f"{HISTORY}/run-{number:05d}.json"


def table_home(table: str, stage_key: str) -> str:
    """Folder of a table's files of one stage key; the intermediates (``tmp/…``) of a stage share one, to go together."""
    if table.startswith(f"{TMP}/"):
        return f"{TMP}/{stage_key}/{table.removeprefix(f'{TMP}/')}"
    return f"{table}/{stage_key}"


def manifest_path(table: str, stage_key: str, snapshot_id: str) -> str:
    """Path of a snapshot's manifest."""
    return f"{table_home(table, stage_key)}/{snapshot_id}/{MANIFEST}"


WRITTEN_BY_RUNS = re.compile(
    rf"^({TMP}/|({'|'.join((*TABLES, ARTEFACTS))})/[0-9a-f]{{16}}/|{HISTORY}/run-\d{{5}}\.json$|(.*/)?\.[^/]+\.partial$)"
)
"""Matches what runs write into a workspace and ``clean`` may remove. Anything else there is somebody else's."""

# --- paths of a shard set

INDEX = "index.json"
"""Lists the files of a generation's shards with their checksums; written last."""
DENOISED = "denoised/"
"""Folder of a set's denoised windows, in which each format has its own."""
SHARD_FOLDER = r"(generation-\d{4}/)?(set-\d+/)?(denoised/)?"
"""Regular expression of the folders that may stand before a format's own path."""


def generation_folder(number: int) -> str:
    """Prefix of the names of a generation's files; '' for the first generation, which is number 0."""
    return f"generation-{number:04d}/" if number else ""


def set_folder(number: int, sets: int, sign: str = "/") -> str:
    """Prefix of the names of files of set ``number`` out of ``sets``; '' where there is only one."""
    return f"set-{number}{sign}" if sets > 1 else ""
