"""Long-range tasks made of documents, as Qwen2.5-1M trains on them (arXiv 2501.15383, §3.1).

Natural long texts often have weak ties over long distances, so tasks are added whose answer lies far away. An example is
one document, or a run of it that fits a window, rearranged or followed by a question and its answer:

- ``fill_in_the_middle``: the text before a gap and after it, then what was in the gap.
- ``paragraph_reordering``: numbered paragraphs out of order, then their numbers in the right order.
- ``keyword_retrieval``: the text, then a word that occurs once in it, then the paragraph that holds it.
- ``position_retrieval``: the text, then how one of its paragraphs begins, then the paragraph that follows it.

An example is spans of its source and tokens of prompts; every choice is a hash of the document. Pure functions of token
ids: no text is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.hashing import mix64, salt

Ids = NDArray[Any]
Int64s = NDArray[np.int64]

TASKS = ("fill_in_the_middle", "paragraph_reordering", "keyword_retrieval", "position_retrieval")

MOST_REORDERED = 32
"""Paragraphs that are put out of order; those of longer texts are longer."""

MOST_BLOCK, LEAST_BLOCK = 512, 32
"""Tokens of a paragraph that is asked for; fewer in small windows."""

QUOTED = 16
"""Tokens that name a paragraph by its beginning."""

MOST_WORD = 8
"""Tokens of a word that is asked for."""

FILL_IN_TOKENS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("<|fim_begin|>", "<|fim_hole|>", "<|fim_end|>"),
)
"""Names under which published tokenizers keep the tokens for filling in; the first three that are all there are used."""

PROMPTS = {
    "before": "The text before the gap:\n",
    "after": "\n\nThe text after the gap:\n",
    "gap": "\n\nThe text in the gap:\n",
    "shuffled": "The paragraphs of this text are out of order.",
    "order": "\n\nThe paragraphs in the right order:",
    "keyword": "\n\nThe paragraph that holds the word",
    "position": "\n\nThe paragraph that follows the one that begins with\n",
    "answer": "\n\n",
}
"""Texts between the spans; numbers of paragraphs are in brackets."""


class Prompts(NamedTuple):
    """The prompts as token ids: ``text`` by the keys of PROMPTS, and for each paragraph its label and its number."""

    text: dict[str, Ids]
    labels: list[Ids]
    numbers: list[Ids]


class Example(NamedTuple):
    """One example.

    Attributes:
        task: one of TASKS.
        tokens: its token ids.
        at, start, length: int64[k], its spans: ``tokens[at : at + length]`` is ``source[start : start + length]``; all
            other tokens are of prompts.
    """

    task: str
    tokens: Ids
    at: Int64s
    start: Int64s
    length: Int64s


def prompt_texts() -> list[str]:
    """Every prompt text, in the order that :func:`prompts` takes their ids in."""
    labels = [f"\n\n[{number}]\n" for number in range(1, MOST_REORDERED + 1)]
    return [*PROMPTS.values(), *labels, *(f" [{number}]" for number in range(1, MOST_REORDERED + 1))]


def prompts(encoded: Sequence[Ids], fill_in: Sequence[int] | None) -> Prompts:
    """Prompts from the ids of :func:`prompt_texts`, and of the three tokens for filling in where the tokenizer has them."""
    n = len(PROMPTS)
    text = dict(zip(PROMPTS, encoded[:n], strict=True))
    if fill_in is not None:
        text |= zip(("before", "after", "gap"), np.array(fill_in).reshape(3, 1), strict=True)
    return Prompts(text, list(encoded[n : n + MOST_REORDERED]), list(encoded[n + MOST_REORDERED :]))


def build(source: Ids, key: int, tasks: Sequence[str], room: int, marks: Marks, texts: Prompts) -> Example | None:
    """The example of one document, at most ``room`` tokens long; None where its text has too few paragraphs.

    Args:
        source: token ids of the document, at least one.
        key: 64-bit hash that all choices are drawn from; it also picks the task. A task that cannot be made of this text
            gives way to the next one.
        tasks: some of TASKS.
    """
    first = _draw(key, "task", len(tasks))
    for name in (*tasks[first:], *tasks[:first]):
        parts = _MAKERS[name](source, key, room, marks, texts)
        if parts is not None:
            return _joined(name, source, parts)
    return None


_Part = tuple[int, int] | Ids
"""A span (start, stop) of the source, or tokens of a prompt."""


def _joined(task: str, source: Ids, parts: Sequence[_Part]) -> Example:
    at, spans, tokens = 0, [], []
    for part in parts:
        if isinstance(part, tuple):
            spans.append((at, part[0], part[1] - part[0]))
            part = source[part[0] : part[1]]
        tokens.append(part.astype(source.dtype))
        at += len(part)
    places = np.array(spans, np.int64).reshape(-1, 3)
    return Example(task, np.concatenate(tokens), places[:, 0], places[:, 1], places[:, 2])


def _draw(key: int, purpose: str, n: int) -> int:
    """An integer below ``n``, uniform by key and purpose."""
    hashed = int(mix64(np.array([key ^ salt(0, f"synthetic.{purpose}")], np.uint64))[0])
    return hashed * n >> 64


def _context(source: Ids, key: int, room: int, marks: Marks) -> tuple[int, int]:
    """(start, stop) of at most ``room`` tokens of the source; begins at a line where one begins soon enough."""
    spare = len(source) - room
    if spare <= 0:
        return 0, len(source)
    start = _draw(key, "context", spare + 1)
    lines = np.flatnonzero(marks.ends_line[source[start : spare + 1]])
    if start and len(lines):
        start = min(start + int(lines[0]) + 1, spare)
    return start, start + room


def _paragraphs(source: Ids, key: int, spent: int, room: int, marks: Marks) -> tuple[int, int, Int64s]:
    """(start, stop) of the context that leaves ``spent`` of ``room``, and the bounds in the source of its paragraphs."""
    start, stop = _context(source, key, room - spent, marks)
    most = _most_block(room)
    bounds = block_bounds(source[start:stop], marks.ends_line, min(LEAST_BLOCK, most // 2), most)
    return start, stop, start + bounds


def _most_block(room: int) -> int:
    return min(MOST_BLOCK, room // 8)


def _fill_in_the_middle(source: Ids, key: int, room: int, marks: Marks, texts: Prompts) -> list[_Part] | None:
    before, after, gap = (texts.text[name] for name in ("before", "after", "gap"))
    start, stop, bounds = _paragraphs(source, key, len(before) + len(after) + len(gap), room, marks)
    inner = len(bounds) - 3  # neither the first nor the last
    if inner < 1:
        return None
    first = 1 + _draw(key, "gap", inner)
    last = int(np.searchsorted(bounds, bounds[first] + (stop - start) // 8, side="right")) - 1
    low, high = int(bounds[first]), int(bounds[min(max(last, first + 1), len(bounds) - 2)])
    return [before, (start, low), after, (high, stop), gap, (low, high)]


def _paragraph_reordering(source: Ids, key: int, room: int, marks: Marks, texts: Prompts) -> list[_Part] | None:
    count = min(MOST_REORDERED, room // 64)
    head, tail = texts.text["shuffled"], texts.text["order"]
    spent = len(head) + len(tail) + sum(map(len, (*texts.labels[:count], *texts.numbers[:count])))
    start, stop = _context(source, key, room - spent, marks)
    least = max(LEAST_BLOCK, -(-(stop - start) // max(count, 1)))
    bounds = start + block_bounds(source[start:stop], marks.ends_line, least, 2 * least)
    n = len(bounds) - 1
    if n < 3 or n > count:
        return None
    shown = np.argsort(mix64(np.arange(n, dtype=np.uint64) ^ np.uint64(key)), kind="stable")
    if (shown == np.arange(n)).all():
        shown = np.roll(shown, 1)
    parts: list[_Part] = [head]
    for label, block in zip(texts.labels, shown.tolist(), strict=False):
        parts += [label, (int(bounds[block]), int(bounds[block + 1]))]
    return [*parts, tail, *(texts.numbers[place] for place in np.argsort(shown).tolist())]


def _keyword_retrieval(source: Ids, key: int, room: int, marks: Marks, texts: Prompts) -> list[_Part] | None:
    question, answer = texts.text["keyword"], texts.text["answer"]
    spent = len(question) + len(answer) + MOST_WORD + _most_block(room)
    start, stop, bounds = _paragraphs(source, key, spent, room, marks)
    if len(bounds) < 4:
        return None
    ids = source[start:stop]
    rare = np.flatnonzero((np.bincount(ids)[ids] == 1) & marks.letters[ids])
    first = _draw(key, "word", max(len(rare), 1))
    for at in (*rare[first:].tolist(), *rare[:first].tolist()):
        low, high = _word(ids, at, marks)
        block = int(np.searchsorted(bounds, start + at, side="right")) - 1
        if high - low <= MOST_WORD and bounds[block] <= start + low and start + high <= bounds[block + 1]:
            word = (start + low, start + high)
            return [(start, stop), question, word, answer, (int(bounds[block]), int(bounds[block + 1]))]
    return None


def _word(ids: Ids, at: int, marks: Marks) -> tuple[int, int]:
    """(start, stop) of the word around the token at ``at``; longer than MOST_WORD where none begins near."""
    low, high = at, at + 1
    while low > 0 and not marks.begins_word[ids[low]] and high - low <= MOST_WORD:
        low -= 1
    if not marks.begins_word[ids[low]]:
        return low, low + MOST_WORD + 1
    while high < len(ids) and marks.letters[ids[high]] and not marks.begins_word[ids[high]] and high - low <= MOST_WORD:
        high += 1
    return low, high


def _position_retrieval(source: Ids, key: int, room: int, marks: Marks, texts: Prompts) -> list[_Part] | None:
    question, answer = texts.text["position"], texts.text["answer"]
    spent = len(question) + len(answer) + QUOTED + _most_block(room)
    start, stop, bounds = _paragraphs(source, key, spent, room, marks)
    n = len(bounds) - 2  # paragraphs that another one follows
    if n < 2:
        return None
    quoted = min(QUOTED, int(np.diff(bounds)[:-1].min()))
    begins = source[bounds[:-2, None] + np.arange(quoted)]
    _, which, counts = np.unique(begins, axis=0, return_inverse=True, return_counts=True)
    named = np.flatnonzero(counts[which.reshape(-1)] == 1)
    if not len(named):
        return None
    block = int(named[_draw(key, "paragraph", len(named))])
    quote = (int(bounds[block]), int(bounds[block]) + quoted)
    return [(start, stop), question, quote, answer, (int(bounds[block + 1]), int(bounds[block + 2]))]


_MAKERS = dict(
    zip(TASKS, (_fill_in_the_middle, _paragraph_reordering, _keyword_retrieval, _position_retrieval), strict=True)
)


WORD_SIGNS = ("Ġ", "▁", " ")
"""How vocabularies write the space before a word."""

MIN_LETTERS = 3


class Marks(NamedTuple):
    """What each token id says about the text: bool[V] each.

    Attributes:
        ends_line: the token holds a line break.
        begins_word: a space stands before its text.
        letters: its text, the space aside, is letters alone, three or more, or part of a word.
    """

    ends_line: NDArray[np.bool_]
    begins_word: NDArray[np.bool_]
    letters: NDArray[np.bool_]


def marks(names: Sequence[str], texts: Sequence[str]) -> Marks:
    """Marks of a vocabulary, from what its file calls each id and the text that the id alone decodes to."""
    begins = [name.startswith(WORD_SIGNS) for name in names]
    letters = [
        text.strip().isalpha() and (not begin or len(text.strip()) >= MIN_LETTERS)
        for text, begin in zip(texts, begins, strict=True)
    ]
    return Marks(np.array(["\n" in text for text in texts], np.bool_), np.array(begins, np.bool_), np.array(letters))


def block_bounds(ids: NDArray[Any], ends_line: NDArray[np.bool_], least: int, most: int) -> Int64s:
    """int64[B+1], 0 … T: where blocks of ``least`` to ``most`` tokens begin, and the end.

    A block ends with the first line that makes it ``least`` tokens long, empty lines behind it included, else after
    ``most`` tokens; a rest shorter than ``least`` joins the block before it where the two fit, else stands alone.
    """
    ends = ends_line[ids]
    ends[:-1] &= ~ends[1:]
    lines = np.flatnonzero(ends) + 1
    bounds, at = [0], 0
    while at < len(ids):
        k = int(np.searchsorted(lines, at + least))
        stop = int(lines[k]) if k < len(lines) else len(ids)
        at = min(stop, at + most, len(ids))
        bounds.append(at)
    if len(bounds) > 2 and bounds[-1] - bounds[-2] < least and bounds[-1] - bounds[-3] <= most:
        del bounds[-2]
    return np.array(bounds, np.int64)
