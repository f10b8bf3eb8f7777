"""A context window as the model sees it: its text, piece by piece, with the documents that the pieces are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curate.base.ids import source_id
from curate.base.schemas import KIND_DOCUMENT, KIND_SYNTHETIC
from curate.inspect.explain import cosines_to, named
from curate.inspect.windows import Windows
from curate.report.markup import element
from curate.tables.artefact import artefact_path
from curate.tables.generations import parts_of
from curate.tables.snapshot import as_file

if TYPE_CHECKING:
    from curate.inspect.run import Run
    from curate.inspect.windows import Piece

SHOWN_CHARS = 300
"""Characters at both ends of a piece that are shown."""


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
        """Which document, which tokens of it, how like the one before."""
        stop = self.start + self.length
        parts = [
            f"{'made of ' if self.synthetic else ''}{self.id} ({self.source})",
            f"tokens {self.start:,} to {stop:,}",
        ]
        if self.copy:
            parts.append(f"copy {self.copy}")
        if self.similarity is not None:
            parts.append(f"similarity to the one before {self.similarity:g}")
        return ", ".join(parts)

    @property
    def ends(self) -> str:
        """The text, its middle left out where it is long."""
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
        """Where it is, and how full."""
        place = f"set {self.set}, " if self.set else ""
        return f"{place}shard {self.shard}, window {self.window}: {self.n_tokens:,} of {self.size:,} tokens, {len(self.pieces)} pieces"

    def __str__(self) -> str:
        return "\n\n".join([self.title, *(f"── {piece.title}\n{piece.ends}" for piece in self.pieces)])

    def _repr_html_(self) -> str:
        shown = [
            element(
                "section", element("b", piece.title), element("p", piece.ends, dir="auto", style="white-space:pre-wrap")
            )
            for piece in self.pieces
        ]
        return element("div", element("b", self.title), *shown)


def window_text(run: Run, shard: int, window: int, number_of_set: int = 0) -> WindowText:
    """The window at (set, shard, window) with its text decoded from the tokens that the shards hold.

    Raises:
        RequestError: there is no such window.
    """
    from tokenizers import Tokenizer

    found = Windows(run)[number_of_set, shard, window]
    details = run.snapshot("tokens").details
    tokenizer = Tokenizer.from_file(str(artefact_path(run.storage, as_file(details["tokenizer"]))))
    shown = [piece for piece in found.pieces if piece.kind in (KIND_DOCUMENT, KIND_SYNTHETIC)]
    sources: list[int] = source_id(np.array([piece.doc_id for piece in shown], np.uint64)).tolist()
    names, tokens = named(run, sources), _tokens(run, shown)
    pieces = []
    for i, piece in enumerate(shown):
        before = sources[i - 1] if i else sources[i]
        similarity = None if before == sources[i] else cosines_to(run, sources[i], [before]).get(before)
        text = tokenizer.decode(
            tokens[piece.doc_id][piece.start : piece.start + piece.length], skip_special_tokens=False
        )
        known = names[sources[i]]
        synthetic = piece.kind == KIND_SYNTHETIC
        pieces.append(
            PieceText(
                sources[i],
                known["id"],
                known["source"],
                piece.copy,
                piece.start,
                piece.length,
                similarity,
                synthetic,
                text,
            )
        )
    parts = parts_of(run.snapshot("windows"))
    sets = {entry["set"]: entry["window"] for part in parts for entry in part["sets"]}
    return WindowText(found.set, found.shard, found.window, found.n_tokens, sets[found.set], tuple(pieces))


def _tokens(run: Run, pieces: list[Piece]) -> dict[int, list[int]]:
    found = {}
    for table, kind in (("tokens", KIND_DOCUMENT), ("synthetic", KIND_SYNTHETIC)):
        ids = [piece.doc_id for piece in pieces if piece.kind == kind]
        rows = run.rows(table, ids, ["token_ids"]).to_pylist() if ids else []
        found.update({row["doc_id"]: row["token_ids"] for row in rows})
    return found
