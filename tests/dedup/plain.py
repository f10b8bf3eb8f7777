"""Shingles in plain Python, from the words of :func:`curate.dedup.normalize.normalized_words`."""

from __future__ import annotations

from curate.dedup.normalize import normalized_words


def shingles(text: str, ngram: int) -> set[tuple[str, ...]]:
    """Distinct shingles of a text; all its words where there are fewer than ``ngram``."""
    words = list(normalized_words(text))
    if not words:
        return set()
    return {tuple(words[i : i + ngram]) for i in range(max(1, len(words) - ngram + 1))}
