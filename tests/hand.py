"""A small finished workspace, written by hand with the real classes: every kind of end a record can have."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import catalog, schemas
from curate.base.ids import doc_id
from curate.shards import conservation
from curate.shards.formats import FORMATS, mds, megatron, parquet, webdataset
from curate.shards.formats import numpy as memmap
from curate.shards.windows import ShardWindows, windows_of_plan
from curate.storage.local import LocalStorage, file_checksum
from curate.tables.parquet import TableWriter
from curate.tables.snapshot import Snapshot, TableFile, encode, write_snapshot
from curate.tables.workspace import RunState, write_run

WINDOW = 8
EOS = 0
DIM = 8

A, SHORT, REJECT, EXACT, E, NEAR = (doc_id(0, i) for i in range(6))
LONG, NOT_DRAWN, Y = (doc_id(1, i) for i in range(3))

TEXTS = {
    A: ("a", "web", "five words are in here"),
    SHORT: ("b", "web", "too short"),
    EXACT: ("d", "web", "Five words are in here!"),
    E: ("e", "web", "seven words are in this text here"),
    NEAR: ("f", "web", "seven words were in this text here"),
    LONG: ("a", "books", "a book that needs more than one window of the eight tokens"),
    NOT_DRAWN: ("n", "books", "not drawn"),
    Y: ("y", "books", "very short"),
}
TOKENS = {
    A: [1, 2, 3, 4, 5],
    E: [11, 12, 13, 14, 15, 16, 17],
    LONG: list(range(21, 33)),
    NOT_DRAWN: [51, 52, 53],
    Y: [41, 42],
}
COPIES = {A: 1, E: 2, LONG: 1, NOT_DRAWN: 0, Y: 1}
PARTITIONS = {"part-0000000-00000": [A, SHORT, EXACT, E, NEAR], "part-0000001-00000": [LONG, NOT_DRAWN, Y]}
UNITS = {"unit-0000000": [REJECT], "unit-0000001": []}

_DOC, _SEP = catalog.KIND_DOCUMENT, catalog.KIND_END
PLAN = {
    # shard: windows of pieces (kind, doc_id, copy, start, length)
    0: [[(_DOC, A, 0, 0, 5), (_SEP, A, 0, 5, 1)], [(_DOC, E, 0, 0, 7), (_SEP, E, 0, 7, 1)], [(_DOC, LONG, 0, 0, 8)]],
    1: [
        [(_DOC, E, 1, 0, 7), (_SEP, E, 1, 7, 1)],
        [(_DOC, LONG, 0, 8, 4), (_SEP, LONG, 0, 12, 1), (_DOC, Y, 0, 0, 2), (_SEP, Y, 0, 2, 1)],
    ],
}
VECTORS = {
    A: [9, 0, 0, 0, 0, 0, 0, 0],
    E: [0, 9, 0, 0, 0, 0, 0, 0],
    LONG: [0, 0, 6, 8, 0, 0, 0, 0],
    NOT_DRAWN: [0] * 8,
    Y: [0, 0, 9, 3, 0, 0, 0, 0],
}

RECIPE: dict[str, Any] = {
    "name": "hand",
    "workspace": ".",
    "inputs": [
        {"source": "web", "path": "../in/web.jsonl"},
        {"source": "books", "path": "../in/books.jsonl", "licence": "CC0-1.0"},
    ],
    "quality": {"preset": "gopher"},
    "tokenizer": {"train": {"vocab_size": 300}},
    "pack": {"window": WINDOW},
    "shards": {"formats": ["parquet"]},
}


@dataclass
class Builder:
    """Writes tables into a workspace; tests damage the rows before, or the files after."""

    root: Path
    snapshots: dict[str, Snapshot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.storage = LocalStorage(self.root)

    def table(
        self, name: str, stage: str, tables: dict[str, pa.Table], counters: dict[str, int] | None = None, **details: Any
    ) -> None:
        """Commit a table of one file for each entry of ``tables``."""
        files = []
        for part, rows in tables.items():
            local = self.storage.scratch() / "part"
            writer = TableWriter(local, rows.schema, {"curate.key": "0" * 16})
            writer.write(rows)
            writer.close()
            files.append(self.add(name, part, ".parquet", local, writer.rows, writer.first, writer.last))
        self.commit(name, stage, files, counters, **details)

    def add(
        self,
        table: str,
        name: str,
        suffix: str,
        local: Path,
        rows: int,
        first: int | None = None,
        last: int | None = None,
    ) -> TableFile:
        checksum, size = file_checksum(local), local.stat().st_size
        path = f"{table}/{'1' * 16}/{'2' * 16}/{name}{suffix}"
        self.storage.move_in(local, path)
        return TableFile(name, path, rows, size, checksum, first, last)

    def model(self, name: str, content: bytes) -> TableFile:
        """A fitted model, and the entry by which runs find it."""
        local = self.storage.scratch() / "model"
        local.write_bytes(content)
        file = self.add("artefacts", name, ".bin", local, 1)
        entry = {"file": asdict(file), "origin": "0" * 16, "size": 1}
        self.storage.put(f"artefacts/{'1' * 16}/{name}.json", encode(entry))
        return file

    def commit(
        self, name: str, stage: str, files: list[TableFile], counters: dict[str, int] | None = None, **details: Any
    ) -> None:
        snapshot = Snapshot(name, stage, "1" * 16, "3" * 16, tuple(files), counters or {}, details, 1.0)
        write_snapshot(self.storage, snapshot)
        self.snapshots[name] = snapshot

    def shards(self, plan: dict[str, pa.Table]) -> None:
        """Write the shards of a plan in every format."""
        files, sums, made = [], [], []
        for name, rows in plan.items():
            whole = shard_windows(rows)
            made.append(whole)
            sums.append(conservation.add_sums(conservation.window_sums(whole)))
            local = self.storage.scratch() / "part"
            parquet.write(whole, str(local))
            files.append(self.add("shards", f"parquet/{name}", ".parquet", local, len(whole)))
            mds.write(whole, str(local))
            files.append(self.add("shards", f"mds/{name.replace('-', '.')}", ".mds", local, len(whole)))
            memmap.write_tokens(whole, str(local), EOS)
            files.append(self.add("shards", f"numpy/{name}", ".npy", local, len(whole)))
            memmap.write_index(whole, str(local))
            files.append(self.add("shards", f"numpy/{name}", ".npz", local, len(whole)))
            webdataset.write(whole, str(local), int(name.removeprefix("shard-")))
            files.append(self.add("shards", f"webdataset/{name}", ".tar", local, len(whole)))
        local, part = self.storage.scratch() / "whole", self.storage.scratch() / "part"
        with local.open("wb") as out:
            for whole in made:
                megatron.write_part(whole, str(part), EOS)
                out.write(part.read_bytes())
        n = sum(map(len, made))
        files.append(self.add("shards", "megatron/tokens", ".bin", local, n))
        megatron.write_index(str(local), n, WINDOW, np.dtype(np.uint16))
        files.append(self.add("shards", "megatron/tokens", ".idx", local, n))
        total = conservation.hex_sum(conservation.add_sums(np.array(sums)))
        formats = list(FORMATS)
        self.commit(
            "shards",
            "shards",
            files,
            {"windows": n},
            formats=formats,
            folder=f"shards/{'1' * 16}/{'2' * 16}",
            conservation=total,
        )

    def finish(self, recipe: dict[str, Any] = RECIPE) -> str:
        """Write run.json; returns the workspace."""
        stages = [
            {"stage": s.stage, "writes": [t], "seconds": s.seconds, "tasks": 1, "skipped": False, "usage": {}}
            for t, s in self.snapshots.items()
        ]
        write_run(
            self.storage, RunState("hand", recipe, {t: s.path for t, s in self.snapshots.items()}, stages, "inline")
        )
        return str(self.root)

    def path(self, table: str, number: int = 0) -> Path:
        """A file of a table on disk."""
        return self.root / self.snapshots[table].files[number].path


def per_partition(ids: list[int], row: Any, schema: pa.Schema) -> dict[str, pa.Table]:
    """Rows of the documents in ``ids``, by partition."""
    return {name: pa.Table.from_pylist([row(i) for i in held if i in ids], schema) for name, held in PARTITIONS.items()}


def window_rows(shard: int, windows: list[list[tuple[int, int, int, int, int]]]) -> pa.Table:
    """Rows of the plan of one shard."""
    rows = [
        {
            "set": 0,
            "shard": shard,
            "window": w,
            "piece": p,
            "kind": kind,
            "doc_id": doc,
            "copy": copy,
            "start": start,
            "length": length,
        }
        for w, pieces in enumerate(windows)
        for p, (kind, doc, copy, start, length) in enumerate(pieces)
    ]
    return pa.Table.from_pylist(rows, schemas.WINDOWS)


def shard_windows(rows: pa.Table) -> ShardWindows:
    """The windows of a plan with the tokens of TOKENS."""
    tokens: list[int] = []
    for row in rows.to_pylist():
        text = TOKENS[row["doc_id"]][row["start"] : row["start"] + row["length"]]
        tokens += text if row["kind"] == _DOC else [EOS]
    columns = {name: rows[name].to_numpy() for name in ("window", "kind", "doc_id", "copy", "start", "length")}
    return windows_of_plan(WINDOW, **columns, tokens=np.array(tokens, np.uint16))


def ledger_rows() -> dict[str, pa.Table]:
    """The ledger that agrees with the tables above."""
    first = {}
    for shard, windows in PLAN.items():
        for w, pieces in enumerate(windows):
            for kind, doc, *_ in pieces:
                if kind == _DOC:
                    first.setdefault(doc, (shard, w))
    ends = {
        SHORT: ("quality", "gopher_quality.gopher_short_doc", "2", None),
        EXACT: ("dedup", "exact", "1", A),
        NEAR: ("dedup", "near", "0.9", E),
        NOT_DRAWN: ("upsample", "not_drawn", None, None),
    }
    positions = {i: n for n, i in enumerate([A, E, LONG, Y, NOT_DRAWN])}
    tables = {}
    for name, held in PARTITIONS.items():
        rows = []
        for i in held:
            stage, reason, detail, keeper = ends.get(i, (None, None, None, None))
            shard, window = first.get(i, (None, None))
            rows.append(
                {
                    "doc_id": i,
                    "id": TEXTS[i][0],
                    "source": TEXTS[i][1],
                    "status": "removed" if stage else "kept",
                    "stage": stage,
                    "reason": reason,
                    "detail": detail,
                    "keeper": keeper,
                    "n_tokens": len(TOKENS[i]) if i in TOKENS else None,
                    "copies": COPIES.get(i),
                    "cluster": 0 if i in TOKENS else None,
                    "position": positions.get(i),
                    "first_set": None if shard is None else 0,
                    "first_shard": shard,
                    "first_window": window,
                }
            )
        tables[name] = pa.Table.from_pylist(rows, schemas.LEDGER)
    for name, held in UNITS.items():
        rows = [
            {
                "doc_id": i,
                "id": "web/web.jsonl#2",
                "source": "web",
                "status": "rejected",
                "stage": "ingest",
                "reason": "invalid_json",
                "detail": '{"te',
            }
            for i in held
        ]
        tables[name] = pa.Table.from_pylist(rows, schemas.LEDGER)
    return tables


LEDGER_COUNTERS = {
    "kept": 4,
    "removed": 4,
    "rejected": 1,
    "rejected.invalid_json": 1,
    "removed.quality.gopher_quality.gopher_short_doc": 1,
    "removed.dedup.exact": 1,
    "removed.dedup.near": 1,
    "removed.upsample.not_drawn": 1,
}


def build(root: Path) -> Builder:
    """The whole workspace but for run.json."""
    builder = Builder(root)
    ids = [i for held in PARTITIONS.values() for i in held]
    rejects = {
        name: pa.Table.from_pylist(
            [
                {
                    "doc_id": i,
                    "source": "web",
                    "path": "web.jsonl",
                    "position": 2,
                    "reason": "invalid_json",
                    "snippet": '{"te',
                }
                for i in held
            ],
            schemas.REJECTS,
        )
        for name, held in UNITS.items()
    }
    counters = {"documents": 8, "rejects": 1, "rejects.invalid_json": 1, "text_bytes": 250}
    builder.table("rejects", "ingest", rejects, counters)
    documents = per_partition(
        ids,
        lambda i: {"doc_id": i, "id": TEXTS[i][0], "source": TEXTS[i][1], "text": TEXTS[i][2], "meta": None},
        schemas.DOCUMENTS,
    )
    builder.table("documents", "ingest", documents, counters, units=[])
    signals = pa.schema(
        [
            ("doc_id", pa.uint64()),
            ("n_bytes", pa.int64()),
            ("n_chars", pa.int64()),
            ("n_words", pa.int64()),
            ("language", pa.string()),
            ("language_score", pa.float64()),
        ]
    )
    measured = per_partition(
        ids,
        lambda i: {
            "doc_id": i,
            "n_bytes": len(TEXTS[i][2]),
            "n_chars": len(TEXTS[i][2]),
            "n_words": len(TEXTS[i][2].split()),
            "language": "en",
            "language_score": 0.9,
        },
        signals,
    )
    cuts = per_partition(
        [LONG], lambda i: {"doc_id": i, "start": 0, "end": 2, "reason": "c4", "replacement": None}, schemas.EDITS
    )
    builder.table("edits", "quality", cuts)
    builder.table("signals", "quality", measured, {"documents": 8})
    verdict = {SHORT: ("gopher_quality.gopher_short_doc", 2.0)}
    verdicts = per_partition(
        ids,
        lambda i: {
            "doc_id": i,
            "removed_by": verdict.get(i, (None, None))[0],
            "value": verdict.get(i, (None, None))[1],
        },
        schemas.VERDICTS,
    )
    builder.table(
        "verdicts", "quality", verdicts, {"kept": 7, "removed": 1, "removed.gopher_quality.gopher_short_doc": 1}
    )
    signed = per_partition(
        [i for i in ids if i != SHORT],
        lambda i: {"doc_id": i, "content_hash": bytes(16), "signature": bytes(8)},
        schemas.signatures_schema(2),
    )
    builder.table("signatures", "dedup", signed, minhash={"ngram": 5, "bands": 2, "rows": 1, "seed": 1})
    found = {
        EXACT: {
            "doc_id": EXACT,
            "kind": "exact",
            "keeper": A,
            "component": A,
            "similarity": 1.0,
            "shared_bands": 0,
            "containment": 1.0,
        },
        NEAR: {
            "doc_id": NEAR,
            "kind": "near",
            "keeper": E,
            "component": E,
            "similarity": 0.9,
            "shared_bands": 11,
            "containment": 0.95,
        },
    }
    builder.table(
        "duplicates",
        "dedup",
        per_partition(list(found), found.__getitem__, schemas.DUPLICATES),
        {"removed.exact": 1, "removed.near": 1},
    )
    builder.table("contamination", "dedup", per_partition([], dict, schemas.CONTAMINATION))
    builder.table("paragraphs", "dedup", per_partition([], dict, schemas.PARAGRAPHS))
    left = list(TOKENS)
    cut = {LONG: [{"start": 0, "end": 2, "replacement": None}]}
    kept = per_partition(left, lambda i: {"doc_id": i, "cuts": cut.get(i, [])}, schemas.KEPT)
    builder.table("kept", "dedup", kept, {"documents": 5, "cut": 1})
    tokens = per_partition(
        left, lambda i: {"doc_id": i, "token_ids": TOKENS[i], "n_tokens": len(TOKENS[i])}, schemas.tokens_schema(300)
    )
    builder.table(
        "tokens", "tokenize", tokens, {"documents": 5, "tokens": 29}, vocab_size=300, eos_id=EOS, tokenizer_hash="0"
    )
    vectors = per_partition(
        left,
        lambda i: {"doc_id": i, "vector": np.array(VECTORS[i], np.int8).tobytes(), "scale": 1.0},
        schemas.embeddings_schema(DIM),
    )
    model = builder.model("lexical", b"fitted")
    builder.table("embeddings", "embed", vectors, {}, dim=DIM, model=asdict(model))
    builder.table(
        "clusters",
        "cluster",
        per_partition(left, lambda i: {"doc_id": i, "cluster": 0, "region": 0, "distance": 0.0}, schemas.CLUSTERS),
        {},
        cells=1,
        regions=1,
    )
    positions = {i: n for n, i in enumerate([A, E, LONG, Y, NOT_DRAWN])}
    ordered = per_partition(
        left,
        lambda i: {"doc_id": i, "position": positions[i], "cluster": 0, "similarity_to_previous": 0.5},
        schemas.ORDER,
    )
    builder.table("order", "order", ordered, {}, method="related", measures={"adjacent": 0.5})
    drawn = per_partition(left, lambda i: {"doc_id": i, "copies": COPIES[i], "reason": ""}, schemas.COPIES)
    builder.table(
        "copies",
        "upsample",
        drawn,
        {"documents": 4, "copies": 5, "not_drawn": 1, "tokens": 33},
        method="none",
        masses=[["books", False, 3, 17], ["web", False, 2, 12]],
        rates=[],
    )
    builder.table("synthetic", "synthetic", {})
    plan = {f"shard-{shard:05d}": window_rows(shard, windows) for shard, windows in PLAN.items()}
    packed = {"windows": 5, "tokens": 33, "special_tokens": 5, "padding": 2}
    builder.table(
        "windows",
        "pack",
        plan,
        packed,
        window=WINDOW,
        method="related",
        eos=True,
        sets=[{"set": 0, "kind": "train", "window": WINDOW, "shards": 2, "first": 0}],
        measures={"padding": 0.05},
    )
    builder.shards(plan)
    builder.table("ledger", "ledger", ledger_rows(), LEDGER_COUNTERS)
    return builder
