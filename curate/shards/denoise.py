"""UL2's mixture of denoisers as a seeded, invertible transform of windows ("UL2: Unifying Language Learning Paradigms",
arXiv 2205.05131).

A window's segments are cut into examples of at most ``length`` tokens, and each example gets one of the denoisers by a
hash. Spans are chosen as T5 does (``random_spans_noise_mask`` of google-research/text-to-text-transfer-transformer):
their number and total length follow from the example's length alone, and all ways to place them are equally likely.
An example becomes

    [mode] text <0> text <1> text … <0> span <1> span …

where ``<k>`` are sentinels that stand for the spans in the first part and announce them in the second, the targets. So
the stream of tokens alone restores the window (:func:`restore`): nothing is lost, and 1 + 2 · spans tokens are added.

The segments of a denoised window are the examples; each is in one segment of the window before, so it has a document, a
copy and an offset of its first token there. How long examples are and where their targets begin follows from the plan
alone, so the longest denoised window of a set is known before a token is read: formats with rows of one length fill up to
that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.base.hashing import mix64, salt
from curate.shards.windows import ShardWindows, token_type

Int64s = NDArray[np.int64]


class Denoiser(NamedTuple):
    """One way to corrupt: ``rate`` of the tokens, in spans of ``mean_span`` tokens; None is one span to the end."""

    mode: str
    rate: float
    mean_span: float | None


UL2 = (
    Denoiser("R", 0.15, 3),
    Denoiser("R", 0.15, 8),
    Denoiser("S", 0.25, None),
    Denoiser("X", 0.5, 3),
    Denoiser("X", 0.5, 8),
    Denoiser("X", 0.15, 64),
    Denoiser("X", 0.5, 64),
)
"""The paper's seven: regular (R), sequential (S) and extreme (X) denoising, mixed uniformly (its table 1)."""


def span_counts(length: int, denoiser: Denoiser) -> tuple[int, int]:
    """(corrupted tokens, spans) of an example of ``length`` tokens, at least one of each.

    As in T5, both are rounded half to even and something is left uncorrupted, which an example of one token cannot do.
    """
    noise = min(max(round(length * denoiser.rate), 1), max(length - 1, 1))
    if denoiser.mean_span is None:
        return noise, 1
    return noise, min(max(round(noise / denoiser.mean_span), 1), max(length - noise, 1))


@dataclass(frozen=True)
class Mixture:
    """A mixture of denoisers, each as likely as the others, and the token ids that it needs.

    Attributes:
        modes: id of the mode token of each ``mode`` that a denoiser has.
        sentinels: ids of the sentinels, as many as an example may have spans (:func:`sentinels_needed`).
        length: most tokens of an example; 512 in the paper.
        denoisers: the mixture.

    None of the ids may occur in a text: take ids above the vocabulary, or tokens that were reserved for this.

    Raises:
        ValueError: a mode has no token, an id is there twice, or there are too few sentinels.
    """

    modes: dict[str, int]
    sentinels: tuple[int, ...]
    length: int = 512
    denoisers: tuple[Denoiser, ...] = UL2

    def __post_init__(self) -> None:
        if missing := sorted({denoiser.mode for denoiser in self.denoisers} - set(self.modes)):
            raise ValueError(f"mode {missing[0]!r} of a denoiser has no token id in `modes`")
        ids = [*self.modes.values(), *self.sentinels]
        if len(set(ids)) < len(ids) or min(ids, default=0) < 0 or max(ids) > np.iinfo(np.int32).max:
            raise ValueError("mode tokens and sentinels must be distinct token ids of at most 31 bits")
        if not self.denoisers or self.length < 1 or not all(0 < denoiser.rate < 1 for denoiser in self.denoisers):
            raise ValueError("a mixture needs a denoiser, rates between 0 and 1 and examples of at least one token")
        needed = sentinels_needed(self.length, self.denoisers)
        if len(self.sentinels) < needed:
            raise ValueError(
                f"examples of {self.length:,} tokens may have {needed:,} spans, but there are {len(self.sentinels):,} "
                "sentinels: reserve more, or lower `length`"
            )

    @property
    def top(self) -> int:
        """The largest of its token ids."""
        return max(*self.modes.values(), *self.sentinels)

    @classmethod
    def above(cls, vocab_size: int, length: int = 512, denoisers: tuple[Denoiser, ...] = UL2) -> Mixture:
        """A mixture whose ids follow the vocabulary's last: the modes in alphabetical order, then the sentinels."""
        modes = sorted({denoiser.mode for denoiser in denoisers})
        first = vocab_size + len(modes)
        sentinels = tuple(range(first, first + sentinels_needed(length, denoisers)))
        return cls({mode: vocab_size + i for i, mode in enumerate(modes)}, sentinels, length, denoisers)


def sentinels_needed(length: int, denoisers: tuple[Denoiser, ...] = UL2) -> int:
    """Most spans that an example of at most ``length`` tokens may have."""
    return max((span_counts(length, denoiser)[1] for denoiser in denoisers), default=0)


class Denoised(NamedTuple):
    """A window after the transform.

    Attributes:
        tokens: int32[T'], its examples one after the other.
        is_target: bool[T'], whether the token is to be predicted from those before it in its example.
        offsets: int64[E+1]; example e is ``tokens[offsets[e]:offsets[e + 1]]``.
        choice: int64[E], the denoiser of each example.
    """

    tokens: NDArray[np.int32]
    is_target: NDArray[np.bool_]
    offsets: Int64s
    choice: Int64s


def window_key(seed: int, epoch: int, shard: int, window: int) -> int:
    """64-bit key of the choices for one window in one epoch: the third argument of :func:`corrupt`."""
    place = np.array([shard << 32 | window], np.uint64)
    return int(mix64(mix64(place) ^ np.uint64(salt(seed, f"denoise:{epoch}")))[0])


def noise_mask(length: int, denoiser: Denoiser, key: int) -> NDArray[np.bool_]:
    """bool[length]: the corrupted tokens of one example; text and spans alternate, text first, a span at the end."""
    noise, spans = (np.array([number]) for number in span_counts(length, denoiser))
    text, corrupted = _run_lengths(np.array([length]), noise, spans, np.array([key], np.uint64))
    return np.repeat(np.arange(2 * len(text)) % 2 == 1, np.stack([text, corrupted], axis=1).reshape(-1))


def _run_lengths(lengths: Int64s, noise: Int64s, spans: Int64s, keys: NDArray[np.uint64]) -> tuple[Int64s, Int64s]:
    """(tokens of text before each span, tokens of each span), of all examples one after the other."""
    return (
        _random_lengths(lengths - noise, spans, keys),
        _random_lengths(noise, spans, keys ^ np.uint64(0x5555555555555555)),
    )


def _random_lengths(items: Int64s, parts: Int64s, keys: NDArray[np.uint64]) -> Int64s:
    """For each example e ``parts[e]`` lengths, at least 1, that add up to ``items[e]``; all such are equally likely.

    The parts begin at the first item and at those of the others whose hashes are the smallest. An example without items
    has one part of length 0.
    """
    example = np.repeat(np.arange(len(items)), items)
    first = np.cumsum(items) - items
    within = np.arange(len(example)) - first[example]
    hashes = mix64(mix64(within.astype(np.uint64)) ^ keys[example])
    order = np.lexsort((hashes, within > 0, example))  # the first item of an example leads
    begins = np.zeros(len(example), np.bool_)
    begins[order] = within < parts[example]  # the rank in its example, which is contiguous in both orders
    part = np.cumsum(begins) - 1 + (np.cumsum(items == 0) - (items == 0))[example]
    return np.bincount(part, minlength=int(parts.sum())).astype(np.int64)


def corrupt(tokens: NDArray[Any], lengths: Int64s, key: int, mixture: Mixture) -> Denoised:
    """The examples of one window.

    Args:
        tokens: ids of the window.
        lengths: int64[S], tokens of its segments, of which none shares an example with another.
        key: key of the window, from :func:`window_key`.
        mixture: denoisers and their token ids.

    Raises:
        ValueError: the window holds a mode token or a sentinel.
    """
    ids = tokens.astype(np.int32)
    reserved = np.array([*mixture.modes.values(), *mixture.sentinels], np.int32)
    if len(ids) and ids.max() >= reserved.min() and (found := np.isin(ids, reserved)).any():
        raise ValueError(f"token {ids[found][0]} of a window is a mode token or sentinel of the denoiser")
    sizes, keys, choice, noise, spans = _drawn(np.asarray(lengths, np.int64), key, mixture)
    text, hidden = _run_lengths(sizes, noise, spans, keys)
    # where everything goes: [mode] (text <k>)… (<k> span)…, the runs of all examples numbered through
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(1 + sizes + 2 * spans)])
    example = np.repeat(np.arange(len(sizes)), spans)
    run = np.arange(len(example)) - (np.cumsum(spans) - spans)[example]
    before = np.cumsum(text) - text - _first_of(np.cumsum(text) - text, spans)[example]
    text_at = offsets[example] + 1 + before + run
    before = np.cumsum(hidden) - hidden - _first_of(np.cumsum(hidden) - hidden, spans)[example]
    span_at = offsets[example] + 1 + (sizes - noise + spans)[example] + before + run
    out = np.empty(offsets[-1], np.int32)
    out[offsets[:-1]] = [mixture.modes[mixture.denoisers[number].mode] for number in choice]
    named = np.array(mixture.sentinels, np.int32)[run]
    out[text_at + text], out[span_at] = named, named
    runs = np.stack([text, hidden], axis=1).reshape(-1)
    begin = np.stack([text_at, span_at + 1], axis=1).reshape(-1)
    out[np.repeat(begin - (np.cumsum(runs) - runs), runs) + np.arange(len(ids))] = ids
    is_target = np.arange(len(out)) >= np.repeat(offsets[:-1] + 1 + sizes - noise + spans, np.diff(offsets))
    return Denoised(out, is_target, offsets, choice)


class Shape(NamedTuple):
    """What is known of a window's examples before their tokens are.

    Attributes:
        starts: int64[E], where each begins in the window before denoising.
        sizes: int64[E], its tokens before.
        lengths: int64[E], its tokens after.
        targets: int64[E], how many of them are to be predicted: they come last.
    """

    starts: Int64s
    sizes: Int64s
    lengths: Int64s
    targets: Int64s


def shape(lengths: Int64s, key: int, mixture: Mixture) -> Shape:
    """The shape of what :func:`corrupt` makes of a window whose segments have these lengths."""
    sizes, _, _, noise, spans = _drawn(np.asarray(lengths, np.int64), key, mixture)
    return Shape(np.cumsum(sizes) - sizes, sizes, 1 + sizes + 2 * spans, noise + spans)


def _drawn(lengths: Int64s, key: int, mixture: Mixture) -> tuple[Int64s, NDArray[np.uint64], Int64s, Int64s, Int64s]:
    """(tokens, key, denoiser, corrupted tokens, spans) of each example of a window."""
    sizes = np.diff(_examples(lengths, mixture.length))
    keys = mix64(mix64(np.arange(1, len(sizes) + 1, dtype=np.uint64)) ^ np.uint64(key))
    n = np.uint64(len(mixture.denoisers))
    choice = ((keys >> np.uint64(32)) * n >> np.uint64(32)).astype(np.int64)
    drawn = [mixture.denoisers[number] for number in choice]
    counts = [span_counts(size, denoiser) for size, denoiser in zip(sizes.tolist(), drawn, strict=True)]
    noise, spans = np.array(counts, np.int64).reshape(-1, 2).T
    return sizes, keys, choice, noise, spans


def _first_of(values: Int64s, counts: Int64s) -> Int64s:
    """The first value of each of the consecutive groups of these sizes, none of them 0."""
    return values[np.cumsum(counts) - counts]


def _examples(lengths: Int64s, longest: int) -> Int64s:
    """int64[E+1]: where the examples of segments of these lengths begin, and the end."""
    per_segment = -(-lengths // longest)
    begins = np.repeat(np.cumsum(lengths) - lengths, per_segment)
    within = np.arange(per_segment.sum()) - np.repeat(np.cumsum(per_segment) - per_segment, per_segment)
    return np.append(begins + within * longest, lengths.sum())


def restore(tokens: NDArray[Any], mixture: Mixture) -> NDArray[np.int32]:
    """int32[T]: the window whose examples these are; the inverse of :func:`corrupt`.

    Raises:
        ValueError: the tokens are not the output of :func:`corrupt` with this mixture.
    """
    modes = np.flatnonzero(np.isin(tokens, list(mixture.modes.values())))
    if len(tokens) and (not len(modes) or modes[0] != 0):
        raise ValueError("denoised tokens must begin with a mode token")
    parts = [np.zeros(0, np.int32)]
    for begin, end in zip(modes, np.append(modes, len(tokens))[1:], strict=True):
        body = np.asarray(tokens[begin + 1 : end], np.int32)
        marks = np.flatnonzero(np.isin(body, mixture.sentinels))
        spans = len(marks) // 2
        named = body[marks]
        if not spans or len(marks) % 2 or not np.array_equal(named[:spans], named[spans:]):
            raise ValueError(f"the example at token {begin} does not name each of its spans twice")
        text, targets = marks[:spans], [*marks[spans:], len(body)]
        at = 0
        for k in range(spans):
            parts += [body[at : text[k]], body[targets[k] + 1 : targets[k + 1]]]
            at = text[k] + 1
        parts.append(body[at : targets[0]])
    return np.concatenate(parts)


def denoised_token_type(mixture: Mixture) -> np.dtype[Any]:
    """The type of token ids in denoised shards, whose largest are those of modes and sentinels."""
    return token_type(mixture.top + 1)


def _shapes(windows: ShardWindows, shard: int, mixture: Mixture, seed: int) -> Iterator[tuple[int, slice, Shape]]:
    """(key, segments, shape) of each window."""
    for w, number in enumerate(windows.window.tolist()):
        segments = slice(windows.segment_offsets[w], windows.segment_offsets[w + 1])
        key = window_key(seed, 0, shard, number)
        yield key, segments, shape(windows.lengths[segments], key, mixture)


def layout(windows: ShardWindows, shard: int, mixture: Mixture, seed: int) -> ShardWindows:
    """What :func:`denoise` makes of windows, without tokens: all else follows from the plan.

    Args:
        windows: of shard number ``shard``; their tokens are not looked at.
        shard: with the window's number and ``seed``, what the choices are drawn by.
        mixture: the denoisers.
        seed: that of the recipe.

    Returns:
        Windows whose segments are the examples; ``size`` is the tokens of the longest, at least 1.
    """
    shapes, segment = [], [np.zeros(0, np.int64)]
    for _, own, made in _shapes(windows, shard, mixture, seed):
        ends = np.cumsum(windows.lengths[own])
        segment.append(own.start + np.searchsorted(ends, made.starts, side="right"))
        shapes.append(made)
    of = np.concatenate(segment)  # the segment before of every example

    def joined(name: str) -> NDArray[np.int64]:
        return np.concatenate([np.zeros(0, np.int64), *(getattr(one, name) for one in shapes)])

    lengths, examples = joined("lengths"), [len(one.lengths) for one in shapes]
    segment_offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(examples, dtype=np.int64)])
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    token_offsets = ends[segment_offsets]
    begins = np.cumsum(windows.lengths) - windows.lengths  # of segments, over all windows
    shift = joined("starts") - (begins[of] - np.repeat(windows.token_offsets[:-1], examples))
    targets = ends[1:] - joined("targets") - np.repeat(token_offsets[:-1], examples)
    return ShardWindows(
        max(1, int(np.diff(token_offsets).max(initial=0))),
        windows.window,
        np.zeros(0, denoised_token_type(mixture)),
        token_offsets,
        segment_offsets,
        windows.doc_ids[of],
        windows.copies[of],
        (windows.starts[of] + shift).astype(np.uint32),
        lengths,
        targets.astype(np.uint32),
    )


def denoise(windows: ShardWindows, shard: int, mixture: Mixture, seed: int, size: int = 0) -> ShardWindows:
    """The windows of a shard after the mixture of denoisers: arguments as for :func:`layout`.

    ``size`` is that of the set, the tokens of its longest denoised window; 0 takes the longest of these.

    Raises:
        ValueError: a window holds a mode token or a sentinel, or is longer than ``size``.
    """
    made = layout(windows, shard, mixture, seed)
    if size and size < made.size:
        raise ValueError(f"a denoised window has {made.size:,} tokens, those of its set {size:,} at most")
    tokens = np.empty(int(made.token_offsets[-1]), made.tokens.dtype)
    for w, number in enumerate(windows.window.tolist()):
        own = slice(windows.segment_offsets[w], windows.segment_offsets[w + 1])
        before = windows.tokens[windows.token_offsets[w] : windows.token_offsets[w + 1]]
        after = corrupt(before, windows.lengths[own], window_key(seed, 0, shard, number), mixture)
        tokens[made.token_offsets[w] : made.token_offsets[w + 1]] = after.tokens
    return replace(made, tokens=tokens, size=size or made.size)


def restored(windows: ShardWindows, mixture: Mixture, size: int, kind: np.dtype[Any]) -> ShardWindows:
    """The windows before denoising, from those after; their segments are still the examples.

    Args:
        windows: denoised windows.
        mixture: the mixture that made them.
        size: tokens of a full window before, L.
        kind: type of the ids before.

    Raises:
        ValueError: the tokens of a window are not the output of the mixture, or its examples not as stated.
    """
    begins = np.cumsum(windows.lengths) - windows.lengths
    is_mark = np.isin(windows.tokens, mixture.sentinels)
    marks = np.add.reduceat(is_mark, begins, dtype=np.int64) if len(begins) else begins
    if not np.array_equal(np.flatnonzero(np.isin(windows.tokens, list(mixture.modes.values()))), begins):
        raise ValueError("an example of a denoised window must begin with a mode token, and only there is one")
    first = np.flatnonzero(windows.tokens == mixture.sentinels[0])
    stated = begins if windows.target_starts is None else windows.target_starts
    stated = stated + np.repeat(windows.token_offsets[:-1], np.diff(windows.segment_offsets))
    if len(first) != 2 * len(begins) or not np.array_equal(first[1::2], stated):
        raise ValueError("the targets of an example must begin where its first sentinel is for the second time")
    parts = [
        restore(windows.tokens[start:stop], mixture)
        for start, stop in zip(windows.token_offsets[:-1], windows.token_offsets[1:], strict=True)
    ]
    made = ShardWindows(
        size,
        windows.window,
        np.concatenate([np.zeros(0, np.int32), *parts]).astype(kind),
        np.cumsum([0, *map(len, parts)]),
        windows.segment_offsets,
        windows.doc_ids,
        windows.copies,
        windows.starts,
        windows.lengths - 1 - marks,
    )
    made.check()
    return made
