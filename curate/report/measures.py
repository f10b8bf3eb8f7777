"""Names and meanings of the numbers in the statistics of a run, for the terminal and the report.

A key is the path of a number in its section of the statistics; ``*`` matches a name of the user's or of a rule.
docs/ordering.md, docs/lengths.md and docs/dedup.md say more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from curate.base.amounts import number

NAMES: dict[str, dict[str, str]] = {
    "duplicates": {
        "exact": "exact duplicates removed",
        "near": "near duplicates removed",
        "groups": "groups of documents that are like each other",
        "largest_group": "documents in the largest group",
        "near_similarity.min": "least Jaccard similarity of a near duplicate to its keeper",
        "near_similarity.mean": "mean of it",
        "near_similarity.max": "largest",
        "counters.exact.documents": "documents with a signature",
        "counters.exact.removed": "copies set aside before near duplicates are looked for",
        "counters.near.documents": "documents in a bucket with others",
        "counters.near.band_rows": "bands of all signatures",
        "counters.near.buckets": "bands that two documents or more share",
        "counters.near.texts": "texts read to compare them",
        "counters.near.earlier_texts": "of these, texts of earlier inputs",
        "counters.near.candidates": "pairs that were tried",
        "counters.near.verified": "of these, truly alike",
        "counters.near.false_positives": "of these, not alike",
        "counters.near.screened": "pairs that sizes or signatures ruled out",
        "counters.near.measured": "true similarities computed",
        "counters.near.components": "components of pairs that are alike",
        "counters.near.removed": "documents removed in components",
        "counters.near.capped": "documents not compared with all keepers of a large component",
    },
    "paragraphs": {
        "paragraphs": "paragraphs looked at",
        "duplicate_paragraphs": "paragraphs seen before",
        "duplicate_bytes": "bytes of those",
        "documents_with_duplicate_paragraphs": "documents with one",
    },
    "contamination": {
        "evaluation.items": "items of evaluation sets",
        "evaluation.items_too_short": "of these, too short to be found",
        "contaminated.documents": "documents that share words with an evaluation item",
        "contaminated.overlaps.*": "pairs of a document and an item of this set",
    },
    "upsampling": {
        "method": "method of the recipe",
        "documents": "documents with a copy",
        "copies": "copies of documents",
        "not_drawn": "documents without a copy",
        "not_long_range": "long documents that are seen once: their parts need not each other",
        "tokens": "tokens, copies counted",
        "validation.documents": "documents kept out of training",
        "validation.tokens": "tokens of those",
        "length_edges": "tokens at which a document counts as longer",
        "report.*long_share.*": "share of the tokens that are in long documents",
        "report.*sources.*": "share of the tokens that are of this source",
        "report.*tokens.before": "tokens once",
        "report.*tokens.wanted": "tokens asked for",
        "report.*tokens.expected": "tokens expected",
        "report.*capped": "sources and lengths at the most copies",
    },
    "synthetic": {
        "set": "shard set that the examples are in",
        "vocab_size": "token ids",
        "counters.documents": "documents with an example",
        "counters.tokens": "tokens of examples",
        "counters.possible": "tokens that could be made",
        "counters.task.*": "examples of this task",
        "report.share.wanted": "share of the tokens asked for",
        "report.share.reached": "share reached",
        "report.tokens.of documents": "tokens of documents in the set",
        "report.tokens.wanted": "tokens asked for",
        "report.tokens.possible": "tokens that could be made",
        "report.tokens.made": "tokens made",
    },
    "vectors": {"measures.held.*": "share of what the documents of this source say that the vectors hold"},
    "clusters": {
        "cells": "clusters",
        "regions": "parts of the corpus that are ordered on their own",
        "measures.distance": "mean distance (1 − cosine) to the centre of the cluster",
        "measures.without_vector": "share of documents that mean nothing to the embedder",
        "measures.distance_over_first": "distance over that of the first inputs: 1 where they are alike",
    },
    "selection": {
        "examples": "examples asked for",
        "nearest_kept": "least cosine to an example that is kept",
        "counters.near": "documents near enough to an example",
        "counters.not_near": "documents that are not",
    },
    "order": {
        "method": "method of the recipe",
        "measures.documents": "documents on the path",
        "measures.regions": "parts of the corpus that were ordered on their own",
        "measures.adjacent": "mean cosine of neighbours on the path",
        "measures.adjacent_random": "the same in a random order",
        "measures.path_share": "weight of the path over an upper bound of any path",
        "measures.jumps": "share of steps to a document that is no neighbour",
        "measures.duplicates": "steps between documents at or above max_similarity",
        "measures.neighbor_recall": "share of the true nearest that the search found",
        "removed.positions": "places on the path left empty by takedowns",
        "removed.hash": "sum of their hashes, by which verify knows them",
    },
    "packing": {
        "method": "method of the recipe",
        "window": "tokens of a context window",
        "bos_id": "id of the token that every document begins with",
        "separator_ids": "tokens between documents that share a window",
        "eos": "whether every document ends with an end-of-text token",
        "measures.in_window": "mean cosine over all pairs that share a window",
        "measures.in_window_by_tokens": "the same, weighted with both lengths",
        "measures.in_window_random": "the same for windows filled at random",
        "measures.in_window_ceiling": "mean cosine to as many nearest documents as share a window",
        "measures.in_window_adjacent": "mean cosine of pieces that follow each other in a window",
        "measures.neighbors_in_window": "share of all neighbours that are in the document's window",
        "measures.with_neighbor_in_window": "share of documents with a neighbour in their window",
        "measures.between_windows": "mean cosine of windows that follow each other: low, so that batches are diverse",
        "measures.vendi": "diversity inside windows: 1 if nothing is alike, near 0 if all is the same",
        "measures.compression_gain": "share of the compressed size that a window saves over its pieces alone",
        "measures.compression_gain_random": "the same for the same pieces arranged by hash",
        "measures.zipf_exponent": "of a window's token counts; lower is burstier",
        "measures.zipf_exponent_random": "the same for the same pieces arranged by hash",
        "measures.same_label": "share of the pairs in a window that have the same label",
        "measures.same_label_random": "the same for the same pieces arranged by hash",
        "measures.padding": "share of the token places left empty",
        "measures.compactness": "fewest possible windows over windows",
        "measures.documents_per_window": "pieces of documents in a window, on average",
        "measures.cut": "share of the documents that are in more than one window",
        "measures.cut_avoidably": "share that is, though it would have fitted a window",
        "measures.cut_avoidably_tokens": "share of the tokens that are in those",
        "measures.in_document_context": "earlier tokens of its own document that a token sees, on average",
        "measures.cross_document": "share of the earlier tokens a token sees that are of another document",
        "counters.windows": "context windows",
        "counters.tokens": "tokens of documents, copies counted",
        "counters.synthetic_tokens": "tokens of synthetic examples",
        "counters.special_tokens": "tokens that begin, end and separate documents",
        "counters.padding": "empty token places",
        "counters.items": "copies of documents",
        "counters.pieces": "spans of documents in windows",
        "counters.cut": "copies in more than one window",
        "counters.cut_avoidably": "of these, those that would have fitted a window",
        "counters.cut_avoidably_tokens": "tokens of those",
        "counters.avoidable_cuts": "cuts of documents that would have fitted a window",
        "counters.forced_cuts": "cuts of documents longer than a window",
        "counters.leaked_pairs": "pairs at or above max_similarity in one window",
        "counters.context": "pairs of a token and an earlier one in its window",
        "counters.in_document_context": "of these, pairs within one document",
    },
    "shards": {
        "formats": "formats",
        "folder": "where they are",
        "format_version": "version of index.json",
        "conservation": "sum over all tokens, by which verify proves that none is lost",
        "tokenizer.blake2b": "checksum of the tokenizer",
        "tokenizer.vocab_size": "token ids",
        "tokenizer.eos_id": "id of the end-of-text token",
        "tokenizer.bos_id": "id of the token that every document begins with",
        "tokenizer.separator_ids": "tokens between documents that share a window",
        "denoise.*": "of the copies for denoising",
        "counters.windows": "context windows",
        "counters.tokens": "tokens, end-of-text counted",
    },
}
"""Section of the statistics → key → meaning."""

TITLES = {
    "duplicates": "Duplicates",
    "paragraphs": "Paragraphs",
    "contamination": "Evaluation sets",
    "upsampling": "Upsampling",
    "synthetic": "Synthetic examples",
    "clusters": "Clusters",
    "vectors": "Vectors",
    "selection": "Selection",
    "order": "Order",
    "packing": "Context windows",
    "shards": "Shards",
}
"""Section → its title, in the order of the stages."""

_KINDS = ("measures.", "counters.", "report.")
_GENERATION = "generation_"

LATEST = 3
"""Latest generations that have a column of their own, besides the first one."""


def name_of(section: str, key: str) -> str:
    """Meaning of a number; empty where it is not known."""
    return NAMES[section].get(_pattern(section, key), "")


def meaning_of(path: str) -> str:
    """Meaning of a number by its whole path, as ``order.generation_1.measures.jumps``; empty where it is not known."""
    section, _, key = path.partition(".")
    if key.startswith(_GENERATION):
        key = key.partition(".")[2]
    return name_of(section, key) if section in NAMES else ""


def _pattern(section: str, key: str) -> str:
    """The key in :data:`NAMES` that matches."""
    if key in NAMES[section]:
        return key
    return next((one for one in NAMES[section] if "*" in one and fnmatchcase(key, one)), key)


def flat(value: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """(dotted key, value) of nested dicts; lists of plain values become one text, other lists are left out."""
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from flat(inner, f"{prefix}{name}.")
        elif isinstance(inner, list | tuple):
            if inner and all(isinstance(item, str | int | float) for item in inner):
                yield prefix + name, ", ".join(number(item) for item in inner)
        else:
            yield prefix + name, inner


def rows_of(section: str, part: dict[str, Any]) -> tuple[list[str], list[Sequence[Any]]]:
    """(head, rows) of a section: key, meaning, value; for several generations, a column for each that is shown."""
    numbers = sorted(int(name.removeprefix(_GENERATION)) for name in part if name.startswith(_GENERATION))
    numbers = [*numbers[:1], *numbers[1:][-LATEST:]]
    columns = [dict(flat({name: value for name, value in part.items() if not name.startswith(_GENERATION)}))]
    columns += [dict(flat(part[f"{_GENERATION}{number}"])) for number in numbers]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rank = {key: i for i, key in enumerate(NAMES[section])}
    keys.sort(key=lambda key: rank.get(_pattern(section, key), len(rank)))
    head = ["", "meaning", *(["all"] if numbers else [""]), *(f"generation {number}" for number in numbers)]
    return head, [(_short(key), name_of(section, key), *(column.get(key) for column in columns)) for key in keys]


def _short(key: str) -> str:
    return next((key.removeprefix(kind) for kind in _KINDS if key.startswith(kind)), key)
