"""What became of one input record, and why: its reason with the measured value, its keeper, its windows and neighbours."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow.compute as pc

from curate.base.errors import RequestError
from curate.base.ids import SYNTHETIC_BIT
from curate.base.matrices import vector_matrix
from curate.base.schemas import KIND_DOCUMENT, KIND_SYNTHETIC
from curate.inspect.reasons import because
from curate.inspect.windows import Windows
from curate.reading.records import REMOVED_ON_REQUEST

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.inspect.run import Run

MAX_ANSWERS = 20
"""Records that are explained when many share an id."""

MAX_WINDOWS = 200
"""Windows of one document whose neighbours are looked up."""

SHOWN_WINDOWS = 6
"""Windows that the terminal shows."""

_SIGNALS = ("n_bytes", "n_chars", "n_words", "language", "language_score")


@dataclass(frozen=True, slots=True)
class Explanation:
    """The end of one record.

    Attributes:
        doc_id: its identity in the workspace.
        id: the user's id, or ``source/path#position``.
        source: name of its source.
        status: kept, removed or rejected.
        stage: the stage that removed it; None when it is kept.
        reason: the reason as the tables hold it.
        because: the reason in words, with the measured value and the limit.
        signals: what was measured of its text; empty for a reject.
        keeper: of a duplicate: the document kept in its place, with id, source and similarity (true Jaccard).
        kept_for: records that were removed as its duplicates: how many, and the first of them.
        n_tokens: tokens; None when it was not tokenized.
        copies: how often it is in the shards.
        cluster: its cell; None before that stage.
        position: its place on the path.
        pieces: where it is: {set, shard, window, copy, start, length} of every piece.
        windows: what else is in those windows: {set, shard, window, neighbours: [{doc_id, id, source, tokens, similarity}]}.
        synthetic: the example of a long-range task that was made of it: {doc_id, task, n_tokens, pieces}; None without one.
        text: the beginning of the text, or of a reject the snippet.
    """

    doc_id: int
    id: str
    source: str
    status: str
    stage: str | None
    reason: str | None
    because: str
    signals: dict[str, Any] = field(default_factory=dict)
    keeper: dict[str, Any] | None = None
    kept_for: dict[str, Any] | None = None
    n_tokens: int | None = None
    copies: int | None = None
    cluster: int | None = None
    position: int | None = None
    pieces: list[dict[str, Any]] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)
    synthetic: dict[str, Any] | None = None
    text: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The explanation as a JSON-able dict."""
        return asdict(self)

    def __str__(self) -> str:
        from curate.report.explain_text import as_text

        return as_text(self.as_dict()).plain


def explain(run: Run, document: str | int) -> list[Explanation]:
    """Explanations of every record whose id or doc_id is ``document``, by doc_id; at most 20.

    Raises:
        RequestError: there is none.
    """
    rows = find(run, document)
    if not rows:
        example = run.table("ledger").select("id").head(1).collect()
        hint = f"; ids there look like {example['id'][0]!r}" if example.height else ""
        raise RequestError(f"no record in {run.url} has the id or doc_id {str(document)!r}{hint}")
    return [_explain(run, row) for row in rows[:MAX_ANSWERS]]


def find(run: Run, document: str | int) -> list[dict[str, Any]]:
    """Ledger rows of every record whose id or doc_id is ``document``, or of which that example was made; by doc_id."""
    rows = {}
    if isinstance(document, str):
        run.snapshot("ledger")
        for row in run.table("ledger").filter(pl.col("id") == document).collect(engine="streaming").to_dicts():
            rows[row["doc_id"]] = row
    if not rows and isinstance(document, str) and run.has("removed"):
        gone = run.table("removed").filter(pl.col("id") == document).collect()["doc_id"].to_list()
        rows = {row["doc_id"]: row for row in run.rows("ledger", gone).to_pylist()} if gone else {}
    number = int(document) if isinstance(document, int) or (document.isascii() and document.isdigit()) else -1
    if 0 <= number < 2**64:
        # of a synthetic example: its source
        for row in run.rows("ledger", [number & ~int(SYNTHETIC_BIT)]).to_pylist():
            rows[row["doc_id"]] = row
    return [rows[doc_id] for doc_id in sorted(rows)]


def _request_of(run: Run, doc_id: int) -> str:
    """Which request took a document down; nothing where it was refused for another's id or text."""
    rows = run.rows("removed", [doc_id]).to_pylist() if run.has("removed") else []
    if not rows:
        return "; refused because its id or text was taken down before"
    asked = run.table("audit").filter(pl.col("request") == rows[0]["request"]).collect().to_dicts()[0]
    why = f": {asked['reason']}" if asked["reason"] else ""
    return (
        f"; {rows[0]['how']}, request {asked['request']} by {asked['by'] or 'nobody named'}, {asked['asked_at']}{why}"
    )


def _explain(run: Run, row: dict[str, Any]) -> Explanation:
    doc_id = row["doc_id"]
    base = {name: row[name] for name in ("doc_id", "id", "source", "status", "stage", "reason")}
    if row["status"] == "rejected":
        why = because(run, row)
        if row["reason"] == REMOVED_ON_REQUEST:
            why += _request_of(run, doc_id)
        return Explanation(**base, because=why, text=row["detail"] or "")
    pieces, windows = places(run, row) if row["status"] == "kept" else ([], [])
    return Explanation(
        **base,
        because=because(run, row),
        signals=_first(run, "signals", doc_id),
        keeper=keeper_of(run, doc_id) if row["keeper"] is not None else None,
        kept_for=_kept_for(run, doc_id) if row["keeper"] is None else None,
        n_tokens=row["n_tokens"],
        copies=row["copies"],
        cluster=row["cluster"],
        position=row["position"],
        pieces=pieces,
        windows=windows,
        synthetic=_synthetic_of(run, doc_id),
        text=run.text(doc_id).edited[:300],
    )


def _synthetic_of(run: Run, doc_id: int) -> dict[str, Any] | None:
    number = doc_id | int(SYNTHETIC_BIT)
    found = _first(run, "synthetic", number)
    if not found:
        return None
    pieces = Windows(run).holding(number)
    pieces = pieces.filter(pc.equal(pieces["kind"], KIND_SYNTHETIC)) if pieces.num_rows else pieces
    names = ("set", "shard", "window", "start", "length")
    return {
        "doc_id": number,
        **{name: found[name] for name in ("task", "n_tokens")},
        "pieces": [{name: row[name] for name in names} for row in pieces.to_pylist()],
    }


def _first(run: Run, table: str, doc_id: int) -> dict[str, Any]:
    if not run.has(table):
        return {}
    found = run.rows(table, [doc_id]).to_pylist()
    return {name: value for name, value in found[0].items() if name != "doc_id" and value is not None} if found else {}


def named(run: Run, doc_ids: list[int]) -> dict[int, dict[str, Any]]:
    """id and source of documents, from the narrowest table that has them."""
    table = "ledger" if run.has("ledger") else "documents"
    found = run.rows(table, doc_ids, ["doc_id", "id", "source"]) if doc_ids else None
    return (
        {}
        if found is None
        else {
            row["doc_id"]: {"doc_id": row["doc_id"], "id": row["id"], "source": row["source"]}
            for row in found.to_pylist()
        }
    )


def keeper_of(run: Run, doc_id: int) -> dict[str, Any] | None:
    """The document kept in the place of a duplicate: kind, doc_id, id, source, similarity, shared bands, and whether it was
    taken down since (of semantic duplicates, which stay removed then).
    """
    found = _first(run, "duplicates", doc_id)
    if not found and run.has("semantic"):
        found = _first(run, "semantic", doc_id)
        found |= {"kind": "semantic", "shared_bands": 0, "component": found["keeper"]} if found else {}
    if not found:
        return None
    keeper = named(run, [found["keeper"]]).get(found["keeper"], {"doc_id": found["keeper"], "id": "", "source": ""})
    return {
        "kind": found["kind"],
        **keeper,
        "similarity": round(found["similarity"], 4),
        "containment": _rounded(found.get("containment")),
        "shared_bands": found["shared_bands"],
        "component": found["component"],
        "taken_down": run.has("removed") and run.rows("removed", [found["keeper"]], ["doc_id"]).num_rows > 0,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _kept_for(run: Run, doc_id: int) -> dict[str, Any] | None:
    if not run.has("duplicates"):
        return None
    mine = (
        run.table("duplicates")
        .filter(pl.col("keeper") == pl.lit(doc_id, pl.UInt64))
        .select("doc_id", "similarity")
        .collect(engine="streaming")
    )
    if mine.height == 0:
        return None
    first = mine.sort(["similarity", "doc_id"], descending=[True, False]).head(3)
    names = named(run, first["doc_id"].to_list())
    return {
        "records": mine.height,
        "first": [
            {**names.get(i, {"doc_id": i}), "similarity": round(s, 4)}
            for i, s in zip(first["doc_id"], first["similarity"], strict=True)
        ],
    }


def places(run: Run, entry: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(pieces of a kept document, its windows with the other documents in them); ``entry`` is its row of the ledger."""
    windows, doc_id = Windows(run), entry["doc_id"]
    everywhere = windows.holding(doc_id, entry["first_shard"], entry["n_tokens"] * entry["copies"])
    mine = [row for row in everywhere.to_pylist() if row["kind"] == KIND_DOCUMENT]
    pieces = [{name: row[name] for name in ("set", "shard", "window", "copy", "start", "length")} for row in mine]
    where = sorted({(row["set"], row["shard"], row["window"]) for row in mine})
    rows = windows.rows(where[:MAX_WINDOWS]).to_pylist() if where else []
    others: dict[tuple[int, int, int], dict[int, int]] = {place: {} for place in where[:MAX_WINDOWS]}
    for row in rows:
        if row["kind"] == KIND_DOCUMENT and row["doc_id"] != doc_id:
            held = others[row["set"], row["shard"], row["window"]]
            held[row["doc_id"]] = held.get(row["doc_id"], 0) + row["length"]
    ids = sorted({other for held in others.values() for other in held})
    names, cosines = named(run, ids), cosines_to(run, doc_id, ids)
    return pieces, [
        {
            "set": place[0],
            "shard": place[1],
            "window": place[2],
            "neighbours": [
                {**names.get(i, {"doc_id": i}), "tokens": tokens, "similarity": cosines.get(i)}
                for i, tokens in held.items()
            ],
        }
        for place, held in others.items()
    ]


def cosines_to(run: Run, doc_id: int, others: list[int]) -> dict[int, float]:
    """Cosine of a document's embedding to others', rounded to 1e-4; 0 for a zero vector."""
    if not others or not run.has("embeddings"):
        return {}
    table = run.rows("embeddings", [doc_id, *others], ["doc_id", "vector"])
    ids = table["doc_id"].to_pylist()
    if doc_id not in ids:
        return {}
    vectors = vector_matrix(table["vector"]).astype(np.int64)
    mine = vectors[ids.index(doc_id)]
    norms = np.sqrt((vectors * vectors).sum(axis=1)) * np.sqrt((mine * mine).sum())
    dots = vectors @ mine
    return {
        i: round(float(dot / norm), 4) if norm else 0.0
        for i, dot, norm in zip(ids, dots, norms, strict=True)
        if i != doc_id
    }


def sections(found: list[dict[str, Any]], *, plain: bool) -> list[RenderableType]:
    """The explanations as text."""
    from curate.report.explain_text import as_text

    head: list[RenderableType] = []
    if len(found) > 1:
        head = [
            f"{len(found)} records match"
            + (f"; the first {MAX_ANSWERS} are shown" if len(found) == MAX_ANSWERS else "")
        ]
    return [*head, *(as_text(one, plain=plain) for one in found)]
