"""What became of one input record, and why: its reason with the measured value, its keeper, its windows and neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from curate.base.amounts import number
from curate.base.catalog import KIND_DOCUMENT, KIND_SYNTHETIC
from curate.base.ids import SYNTHETIC_BIT
from curate.inspect.reader import Answer, RunReader
from curate.inspect.records import because, cosines_to, find, first_row, keeper_of, named, removed_for
from curate.inspect.windows import Windows, place_text
from curate.reading.records import REMOVED_ON_REQUEST

MAX_ANSWERS = 20
"""Records that are explained when many share an id."""

MAX_WINDOWS = 200
"""Windows of one document whose neighbours are looked up."""

SHOWN_PIECES = 6
SHOWN_NEIGHBOURS = 8
"""Pieces, and neighbours in each of their windows, that the text of an explanation lists."""


@dataclass(frozen=True, slots=True)
class Explanation(Answer):
    """The end of one record.

    Attributes:
        doc_id: its identity in the workspace.
        id: the user's id, or ``source/path#position``.
        source: name of its source.
        status: kept, removed or rejected.
        stage: the stage that removed it; None when it is kept.
        reason: the reason as the tables name it.
        because: the reason in words, with the measured value and the limit.
        signals: statistics of its text; empty for a reject.
        keeper: for a duplicate, the document kept instead, with id, source and similarity (true Jaccard).
        kept_for: how many records were removed as its duplicates, and the first of them.
        n_tokens: tokens; None when it was not tokenized.
        copies: how often it occurs in the shards.
        cluster: its cell; None before that stage.
        position: its place on the path.
        pieces: {set, shard, window, copy, start, length} of every piece in the shards.
        windows: other documents in those windows: {set, shard, window, neighbours: [{doc_id, id, source, tokens, similarity}]}.
        synthetic: the example of a long-range task made from it: {doc_id, task, n_tokens, pieces}; None without one.
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

    @property
    def origin(self) -> str:
        """doc_id and source, in parentheses."""
        return f"(doc_id {self.doc_id}, source {self.source})"

    @property
    def details(self) -> str:
        """What follows the status: the stage, and a line for everything that is known, in the order readers ask."""
        stage = f" by {self.stage}" if self.stage else ""
        return stage + "".join(f"\n  {name:<12} {value}" for name, value in _lines(self)).rstrip()

    def __str__(self) -> str:
        return f"{self.id}  {self.origin}\n{self.status}{self.details}"


def explain(run: RunReader, document: str | int) -> list[Explanation]:
    """Explanations of the records whose id or doc_id is ``document``, by doc_id; of the first 20.

    Raises:
        RequestError: there is none.
    """
    return [_explain(run, row) for row in find(run, document)[:MAX_ANSWERS]]


def _request_of(run: RunReader, doc_id: int) -> str:
    """Which request took a document down, in words."""
    removed = first_row(run, "removed", doc_id)
    if not removed:
        return "; refused because its id or text was taken down before"
    asked = run.table("audit").filter(request=removed["request"]).collect().to_dicts()[0]
    why = f": {asked['reason']}" if asked["reason"] else ""
    by = asked["by"] or "nobody named"
    return f"; {removed['how']}, request {asked['request']} by {by}, {asked['asked_at']}{why}"


def _explain(run: RunReader, row: dict[str, Any]) -> Explanation:
    doc_id = row["doc_id"]
    why = because(run, row)
    base = {name: row[name] for name in ("doc_id", "id", "source", "status", "stage", "reason")}
    if row["status"] == "rejected":
        if row["reason"] == REMOVED_ON_REQUEST:
            why += _request_of(run, doc_id)
        return Explanation(**base, because=why, text=row["detail"] or "")
    pieces, windows = _places(run, row) if row["status"] == "kept" else ([], [])
    return Explanation(
        **base,
        **{name: row[name] for name in ("n_tokens", "copies", "cluster", "position")},
        because=why,
        signals=first_row(run, "signals", doc_id),
        keeper=keeper_of(run, doc_id) if row["keeper"] is not None else None,
        kept_for=_kept_for(run, doc_id) if row["keeper"] is None else None,
        pieces=pieces,
        windows=windows,
        synthetic=_synthetic_of(run, doc_id),
        text=run.text(doc_id).edited[:300],
    )


def _synthetic_of(run: RunReader, doc_id: int) -> dict[str, Any] | None:
    example_id = doc_id | int(SYNTHETIC_BIT)
    example = first_row(run, "synthetic", example_id)
    if not example:
        return None
    pieces = [row for row in Windows(run).holding(example_id).to_pylist() if row["kind"] == KIND_SYNTHETIC]
    places = [{name: piece[name] for name in ("set", "shard", "window", "start", "length")} for piece in pieces]
    return {"doc_id": example_id, "task": example["task"], "n_tokens": example["n_tokens"], "pieces": places}


def _kept_for(run: RunReader, doc_id: int) -> dict[str, Any] | None:
    if not run.has("duplicates"):
        return None
    removed = removed_for(run, "duplicates", doc_id).select("doc_id", "similarity").collect(engine="streaming")
    if removed.height == 0:
        return None
    first = dict(removed.head(3).iter_rows())
    names = named(run, [*first])
    nearest = [{**names.get(i, {"doc_id": i}), "similarity": round(value, 4)} for i, value in first.items()]
    return {"records": removed.height, "first": nearest}


def _places(run: RunReader, entry: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(pieces, windows) of a kept document as in :class:`Explanation`; ``entry`` is its row of the ledger."""
    windows, doc_id = Windows(run), entry["doc_id"]
    rows = windows.holding(doc_id, entry["first_shard"], entry["n_tokens"] * entry["copies"]).to_pylist()
    own = [row for row in rows if row["kind"] == KIND_DOCUMENT]
    pieces = [{name: row[name] for name in ("set", "shard", "window", "copy", "start", "length")} for row in own]
    places = sorted({_place(row) for row in own})[:MAX_WINDOWS]
    tokens: dict[tuple[int, int, int], Counter[int]] = {place: Counter() for place in places}
    for row in windows.rows(places).to_pylist():
        if row["kind"] == KIND_DOCUMENT and row["doc_id"] != doc_id:
            tokens[_place(row)][row["doc_id"]] += row["length"]
    ids = sorted({other for beside in tokens.values() for other in beside})
    names: dict[int, dict[str, Any]] = {i: {"doc_id": i} for i in ids} | named(run, ids)
    cosines = cosines_to(run, doc_id, ids)
    return pieces, [
        {"set": number, "shard": shard, "window": window}
        | {"neighbours": [{**names[i], "tokens": n, "similarity": cosines.get(i)} for i, n in beside.items()]}
        for (number, shard, window), beside in tokens.items()
    ]


def _place(row: dict[str, Any]) -> tuple[int, int, int]:
    return row["set"], row["shard"], row["window"]


def _language(signals: dict[str, Any]) -> str:
    """``en (score 0.98)``; ``und: the model's guess is fr (score 0.31)``."""
    score = f"score {signals.get('language_score', 0):.2f}"
    guess = signals.get("language_guess") or signals["language"]
    if guess == signals["language"]:
        return f"{guess} ({score})"
    return f"{signals['language']}: the model's guess is {guess} ({score})"


def _lines(record: Explanation) -> Iterator[tuple[str, str]]:
    if record.because:
        yield "why", record.because
    signals = record.signals
    if signals:
        sizes = [name for name in ("n_words", "n_chars", "n_bytes") if name in signals]
        yield "text", ", ".join(f"{number(signals[name])} {name.removeprefix('n_')}" for name in sizes)
    if "language" in signals:
        yield "language", _language(signals)
    for name, score in signals.items():
        if name.startswith("classifier_"):
            yield "score", f"{name.removeprefix('classifier_')} {score:.4g}"
    if record.n_tokens is not None:
        copies = "" if record.copies is None else ", once" if record.copies == 1 else f", {record.copies} copies"
        yield "tokens", number(record.n_tokens) + copies
    if record.kept_for:
        first, count = record.kept_for["first"][0], number(record.kept_for["records"])
        nearest = f"the nearest {_name(first)}, similarity {first['similarity']:g}"
        yield "duplicates", f"{count} removed as like it, {nearest}"
    if record.position is not None:
        yield "path", f"position {number(record.position)}, cell {record.cluster}"
    yield from _where(record)
    if example := record.synthetic:
        places = "; ".join(place_text(*place) for place in sorted({_place(piece) for piece in example["pieces"]}))
        yield "synthetic", f"{example['task']} ({number(example['n_tokens'])} tokens, {example['doc_id']}): {places}"
    if record.text:
        yield "begins", " ".join(record.text.split())[:160]


def _where(record: Explanation) -> Iterator[tuple[str, str]]:
    neighbours = {_place(window): window["neighbours"] for window in record.windows}
    for piece in record.pieces[:SHOWN_PIECES]:
        copy = f", copy {piece['copy']}" if (record.copies or 0) > 1 else ""
        tokens = f"tokens {number(piece['start'])} to {number(piece['start'] + piece['length'])}"
        yield "window", f"{place_text(*_place(piece))}: {tokens}{copy}"
        beside = neighbours.get(_place(piece), [])
        for other in beside[:SHOWN_NEIGHBOURS]:
            similarity = "" if other["similarity"] is None else f", similarity {other['similarity']:g}"
            yield "", f"  beside {_name(other)}: {number(other['tokens'])} tokens{similarity}"
        if len(beside) > SHOWN_NEIGHBOURS:
            yield "", f"  … and {len(beside) - SHOWN_NEIGHBOURS} more"
    if len(record.pieces) > SHOWN_PIECES:
        yield "", f"… and {len(record.pieces) - SHOWN_PIECES} more pieces (--json has all)"


def _name(document: dict[str, Any]) -> str:
    return f"{document.get('id', '?')} (doc_id {document['doc_id']}, {document.get('source', '?')})"
