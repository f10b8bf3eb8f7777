"""The context windows of a run: the pieces of each by (shard, window), and its text as the model sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.base.catalog import KIND_DOCUMENT, KIND_SYNTHETIC
from curate.base.columns import flat_tokens, vector_matrix
from curate.base.errors import RequestError
from curate.base.hashing import document_hash
from curate.base.ids import source_id
from curate.base.markup import element
from curate.inspect.reader import RunReader, no_rows, to_arrow, to_numpy
from curate.inspect.records import cosines_to, named
from curate.shards.sampled import MEASURES, arranged_by_hash, mean_over_windows
from curate.tables.parquet import validate
from curate.tables.snapshot import TableFile, artefact_path, as_file, parts_of

SHOWN_CHARS = 300
"""Characters at both ends of a piece that the text of a window shows."""


def place_text(number_of_set: int, shard: int, window: int) -> str:
    """``set 1, shard 2, window 3``; the first set is not named."""
    return (f"set {number_of_set}, " if number_of_set else "") + f"shard {shard}, window {window}"


class Piece(NamedTuple):
    """A span of a window: ``length`` tokens of copy ``copy`` of a document from its token ``start`` on.

    ``kind`` is 0 for a document's text, 1 for synthetic text, 2 for its end-of-text token, 3 for what was taken down, 4
    for its beginning-of-text token, 5 for a separator, which belongs to no document.
    """

    kind: int
    doc_id: int
    copy: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Window:
    """One context window and its pieces in their order."""

    set: int
    shard: int
    window: int
    pieces: tuple[Piece, ...]

    @property
    def n_tokens(self) -> int:
        """Tokens, control tokens included; the rest of the window is padding."""
        return sum(piece.length for piece in self.pieces)

    @property
    def doc_ids(self) -> list[int]:
        """Distinct documents in the order of their first piece."""
        return list(dict.fromkeys(piece.doc_id for piece in self.pieces if piece.kind == KIND_DOCUMENT))


class Windows:
    """All windows of a run: ``len``, iteration in the order of the shards, and ``windows[shard, window]``."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._snapshot = run.snapshot("windows")

    def __len__(self) -> int:
        return self._snapshot.counters.get("windows", 0)

    def __iter__(self) -> Iterator[Window]:
        for file in self._snapshot.files:
            yield from windows_of(self._run.read(file))

    def __getitem__(self, place: tuple[int, int] | tuple[int, int, int]) -> Window:
        number_of_set, shard, window = place if len(place) == 3 else (0, *place)
        rows = self.rows([(number_of_set, shard, window)])
        if rows.num_rows == 0:
            of_set = f" of set {number_of_set}" if number_of_set else ""
            raise RequestError(f"{self._run.url} has no window {window} in shard {shard}{of_set}")
        return next(windows_of(rows))

    def rows(self, places: list[tuple[int, int, int]]) -> pa.Table:
        """The rows of the windows at (set, shard, window), in the order of the table."""
        parts = []
        for shard in sorted({shard for _, shard, _ in places}):
            wanted = [number << 32 | window for number, of_shard, window in places if of_shard == shard]
            for table in [self._run.read(file) for file in self._snapshot.files if _is_shard(file, shard)]:
                number, window = (to_numpy(table[name]).astype(np.int64) for name in ("set", "window"))
                parts.append(table.filter(to_arrow(np.isin(number << 32 | window, wanted))))
        return pa.concat_tables(parts or [pa.table({})])

    def holding(self, doc_id: int, shard: int | None = None, tokens: int | None = None) -> pa.Table:
        """The rows of a document, by (set, shard, window, piece).

        Args:
            doc_id: of a document or a synthetic example.
            shard: the shard in which it begins, read first.
            tokens: its tokens in all windows; once they are found, no other shard is read.
        """
        files = self._run.files_with("windows", np.array([doc_id], np.uint64))
        if shard is not None:
            files.sort(key=lambda file: not _is_shard(file, shard))
        parts = []
        for file in files:
            with self._run.open(file) as source:
                parquet, place = pq.ParquetFile(source), self._run.place(file)
                mask = to_numpy(validate(parquet.read(["doc_id"]), place)["doc_id"]) == np.uint64(doc_id)
                if not mask.any():
                    continue
                rows = validate(parquet.read(), place).filter(to_arrow(mask))
            parts.append(rows)
            if tokens is not None:
                kind, length = (to_numpy(rows[name]) for name in ("kind", "length"))
                tokens -= int(length[kind == KIND_DOCUMENT].sum())
                if tokens <= 0:
                    break
        order = ("set", "shard", "window", "piece")
        return pa.concat_tables(parts or [no_rows(order)]).sort_by([(name, "ascending") for name in order])


def _is_shard(file: TableFile, shard: int) -> bool:
    return file.name.endswith(f"shard-{shard:05d}")


def windows_of(table: pa.Table) -> Iterator[Window]:
    """The windows in rows of the ``windows`` table."""
    for (number, shard, window), rows in groupby(table.to_pylist(), itemgetter("set", "shard", "window")):
        yield Window(number, shard, window, tuple(Piece(*(row[name] for name in Piece._fields)) for row in rows))


@dataclass(frozen=True, slots=True)
class PieceText:
    """A span of a document: tokens [start, start + length), decoded.

    ``similarity`` is the cosine of the document's vector to that of the document before it in the window.
    """

    doc_id: int
    id: str
    source: str
    copy: int
    start: int
    length: int
    similarity: float | None
    synthetic: bool
    text: str

    @property
    def title(self) -> str:
        """Which document, which tokens of it, and its similarity to the document before."""
        made_of = "made of " if self.synthetic else ""
        parts = [f"{made_of}{self.id} ({self.source})", f"tokens {self.start:,} to {self.start + self.length:,}"]
        if self.copy:
            parts.append(f"copy {self.copy}")
        if self.similarity is not None:
            parts.append(f"similarity to the one before {self.similarity:g}")
        return ", ".join(parts)

    @property
    def ends(self) -> str:
        """The text, without its middle if it is long."""
        if len(self.text) <= 2 * SHOWN_CHARS:
            return self.text
        left = len(self.text) - 2 * SHOWN_CHARS
        return f"{self.text[:SHOWN_CHARS]} [… {left:,} characters …] {self.text[-SHOWN_CHARS:]}"


@dataclass(frozen=True, slots=True)
class WindowText:
    """A window: its place, its tokens and its length, and its pieces in their order (control tokens left out)."""

    set: int
    shard: int
    window: int
    n_tokens: int
    size: int
    pieces: tuple[PieceText, ...]

    @property
    def title(self) -> str:
        """Its place, and how full it is."""
        place = place_text(self.set, self.shard, self.window)
        return f"{place}: {self.n_tokens:,} of {self.size:,} tokens, {len(self.pieces)} pieces"

    def __str__(self) -> str:
        return "\n\n".join([self.title, *(f"── {piece.title}\n{piece.ends}" for piece in self.pieces)])

    def _repr_html_(self) -> str:
        style = {"dir": "auto", "style": "white-space:pre-wrap"}
        pieces = [element("section", element("b", one.title), element("p", one.ends, **style)) for one in self.pieces]
        return element("div", element("b", self.title), *pieces)


def window_text(run: RunReader, shard: int, window: int, number_of_set: int = 0) -> WindowText:
    """The window at (set, shard, window) with its text decoded from the tokens that the shards hold.

    Raises:
        RequestError: there is no such window.
    """
    from tokenizers import Tokenizer

    at = Windows(run)[number_of_set, shard, window]
    details = run.snapshot("tokens").details
    tokenizer = Tokenizer.from_file(str(artefact_path(run.storage, as_file(details["tokenizer"]))))
    shown = [piece for piece in at.pieces if piece.kind in (KIND_DOCUMENT, KIND_SYNTHETIC)]
    sources: list[int] = source_id(np.array([piece.doc_id for piece in shown], np.uint64)).tolist()
    names, tokens = named(run, sources), _tokens(run, shown)
    pieces, before = [], None
    for piece, source in zip(shown, sources, strict=True):
        ids = tokens[piece.doc_id][piece.start : piece.start + piece.length]
        pieces.append(
            PieceText(
                **names[source],
                copy=piece.copy,
                start=piece.start,
                length=piece.length,
                similarity=None if before in (None, source) else cosines_to(run, source, [before]).get(before),
                synthetic=piece.kind == KIND_SYNTHETIC,
                text=tokenizer.decode(ids, skip_special_tokens=False),
            )
        )
        before = source
    parts = parts_of(run.snapshot("windows"))
    sizes = {entry["set"]: entry["window"] for part in parts for entry in part["sets"]}
    return WindowText(at.set, at.shard, at.window, at.n_tokens, sizes[at.set], tuple(pieces))


def _tokens(run: RunReader, pieces: list[Piece]) -> dict[int, list[int]]:
    tokens = {}
    for table, kind in (("tokens", KIND_DOCUMENT), ("synthetic", KIND_SYNTHETIC)):
        ids = [piece.doc_id for piece in pieces if piece.kind == kind]
        rows = run.rows(table, ids, ["token_ids"]).to_pylist() if ids else []
        tokens.update({row["doc_id"]: row["token_ids"] for row in rows})
    return tokens


FILES = 8
"""Shards that are read at most."""

LABEL_WINDOWS = 400
"""Windows whose labels are compared by ``curate stats --label``."""


def coherence(run: RunReader, windows: int = 100, label: str | None = None, judge: str | None = None) -> dict[str, Any]:
    """Measures of a sample of windows, each beside that of the same pieces arranged by hash.

    Args:
        run: with windows.
        windows: windows of the sample, at most; those with two documents or more are drawn.
        label: a field of the records' metadata, as ``meta.topic``.
        judge: an embedding model: a folder, or an installed package that carries one.

    Returns:
        ``windows``, ``documents``, and ``measures``: name → {``windows``, ``random``}.

    Raises:
        RequestError: the run has no windows, or none with two documents; the label or the model does not exist.
    """
    drawn = _draw(run, windows)
    measures: dict[str, tuple[float, float]] = {}
    vectors = vector_matrix(run.rows("embeddings", drawn.ids.tolist(), ["vector"])["vector"])
    measures["similarity"] = _similar(vectors[drawn.row], drawn)
    if judge is not None:
        measures["similarity_by_judge"] = _similar(_judged(run, judge, drawn.ids)[drawn.row], drawn)
    spans = _spans(run, drawn)
    for name, measure in MEASURES.items():
        own, random = (mean_over_windows(spans, window, measure) for window in (drawn.window, drawn.other))
        measures[name] = own, random
    if label is not None:
        measures["same_label"] = _same_label(run, label, drawn)
    rounded = {name: {"windows": round(own, 4), "random": round(by, 4)} for name, (own, by) in measures.items()}
    return {"windows": drawn.windows, "documents": len(drawn.ids), "measures": rounded}


def label_agreement(run: RunReader, label: str, windows: int = LABEL_WINDOWS) -> dict[str, float]:
    """``same_label`` and ``same_label_random``: the measure of :func:`coherence` that needs neither tokens nor vectors.

    Raises:
        RequestError: as :func:`coherence`.
    """
    own, random = _same_label(run, label, _draw(run, windows))
    return {"same_label": round(own, 4), "same_label_random": round(random, 4)}


class _Drawn(NamedTuple):
    """A sample of windows with P pieces of N documents.

    Attributes:
        windows: number of windows.
        pieces: P pieces.
        window: int64[P], the window of each piece.
        other: int64[P], the window of each piece in the arrangement by hash.
        ids: uint64[N], doc_ids, ascending.
        row: int64[P], row in ``ids`` of each piece's document.
    """

    windows: int
    pieces: list[Piece]
    window: NDArray[np.int64]
    other: NDArray[np.int64]
    ids: NDArray[np.uint64]
    row: NDArray[np.int64]


def _draw(run: RunReader, count: int) -> _Drawn:
    chosen = _sample(run, count)
    if not chosen:
        raise RequestError(f"{run.url} has no window with two documents; there is nothing to compare")
    documents = [[piece for piece in window.pieces if piece.kind == KIND_DOCUMENT] for window in chosen]
    window = np.repeat(np.arange(len(chosen)), [len(pieces) for pieces in documents])
    pieces = [piece for pieces in documents for piece in pieces]
    keys = np.array([piece.doc_id ^ piece.start << 1 ^ piece.copy << 40 for piece in pieces], np.uint64)
    ids, row = np.unique(np.array([piece.doc_id for piece in pieces], np.uint64), return_inverse=True)
    return _Drawn(len(chosen), pieces, window, arranged_by_hash(window, keys, run.recipe.seed), ids, row)


def _sample(run: RunReader, count: int) -> list[Window]:
    """At most ``count`` windows with two documents, always the same ones."""
    files = run.parquet_files("windows")
    order = np.argsort(document_hash(run.recipe.seed, "shards", np.arange(len(files), dtype=np.uint64)), kind="stable")
    read = [window for at in sorted(order[:FILES].tolist()) for window in windows_of(run.read(files[at]))]
    shared = [window for window in read if len(window.doc_ids) > 1]
    keys = np.array([window.set << 52 | window.shard << 26 | window.window for window in shared], np.uint64)
    drawn = np.argsort(document_hash(run.recipe.seed, "windows", keys), kind="stable")[:count]
    return [shared[i] for i in sorted(drawn.tolist())]


def _similar(vectors: NDArray[np.int8], drawn: _Drawn) -> tuple[float, float]:
    from curate.relate.measures import (
        pair_mean,  # here: it brings a compiler, and who explains a document waits for none
    )

    return pair_mean(drawn.window, vectors), pair_mean(drawn.other, vectors)


def _same_label(run: RunReader, label: str, drawn: _Drawn) -> tuple[float, float]:
    from curate.relate.measures import same_label_in_window

    labels = _labels(run, label, drawn.ids)[drawn.row]
    return same_label_in_window(drawn.window, labels), same_label_in_window(drawn.other, labels)


def _spans(run: RunReader, drawn: _Drawn) -> list[NDArray[np.uint32]]:
    """The tokens of every piece."""
    flat, offsets = flat_tokens(run.rows("tokens", drawn.ids.tolist(), ["token_ids"]))
    return [
        flat[start + piece.start : start + piece.start + piece.length].astype(np.uint32)
        for start, piece in zip(offsets[drawn.row].tolist(), drawn.pieces, strict=True)
    ]


def _judged(run: RunReader, judge: str, ids: NDArray[np.uint64]) -> NDArray[np.int8]:
    """int8[N, D]: vectors of documents, as edited, by another model, less their mean."""
    from curate.relate.embedders.model import ModelEmbedder, find_model
    from curate.relate.encoders.quantised import mean_direction, quantise_directions

    rows = ModelEmbedder(find_model(judge)).encode([run.text(int(one)).edited for one in ids])
    return quantise_directions(rows, mean_direction(rows))[0]


def _labels(run: RunReader, label: str, ids: NDArray[np.uint64]) -> NDArray[np.str_]:
    """The label of every document, as text; empty where a record has none."""
    name = label.removeprefix("meta.")
    metas = run.rows("documents", ids.tolist(), ["meta"])["meta"]
    values = [json.loads(one).get(name) if one else None for one in metas.to_pylist()]
    if all(value is None for value in values):
        raise RequestError(f"no document of the sample has a field {name!r} in its metadata; name one as meta.FIELD")
    return np.array(["" if value is None else str(value) for value in values])
