"""Words and shingles in plain Python, which the kernels must agree with."""

from __future__ import annotations

from curate.dedup.shingles import ALONE, IGNORED, MARK, SEPARATOR, WORD, _decomposed, _kind


def normalized_words(text: str) -> list[str]:
    """The words of ``text``: base characters, each followed by its kept marks in order of code point."""
    words: list[str] = []
    word, marks = "", ""
    state = SEPARATOR  # kind of the word's last base; SEPARATOR when no word is open
    for character in text:
        for part in _decomposed(character):
            kind = _kind(ord(part))
            if kind == IGNORED or (kind == MARK and state in (SEPARATOR, WORD)):
                continue
            if kind == MARK:
                marks += part
                continue
            word, marks = word + "".join(sorted(marks)), ""
            if word and (kind in (SEPARATOR, ALONE) or state == ALONE):
                words.append(word)
                word = ""
            if kind != SEPARATOR:
                word += part
            state = kind
    word += "".join(sorted(marks))
    return [*words, word] if word else words


def shingles(text: str, ngram: int) -> set[tuple[str, ...]]:
    """Distinct shingles of a text; all its words where there are fewer than ``ngram``."""
    words = list(normalized_words(text))
    if not words:
        return set()
    return {tuple(words[i : i + ngram]) for i in range(max(1, len(words) - ngram + 1))}
