"""The fastest exact engine for a byte-level BPE: tiktoken's, where it provably gives the ids of the tokenizer.json.

Hugging Face's BPE merges the listed pair of lowest rank first; tiktoken merges the adjacent parts whose *concatenation*
has the lowest rank, from any pair. Let every token T that BPE makes of T's own bytes be *reachable*. If the parts c, d
are adjacent and c + d = T is reachable, no merge has crossed the ends of T so far, so inside T both engines are where
they would be on T's bytes alone; there the last merge makes T, so (c, d) is its listed pair. Hence both engines take
the same steps when tiktoken knows the reachable tokens alone, ranked by their merges. Unreachable tokens never arise.

That leaves the words: the pattern must be one that both regular expression engines read alike (:data:`PATTERNS`), on
classes of characters of the same Unicode version (:func:`_same_classes`).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import tiktoken
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
_FASTER = {GPT2: r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"}
"""The same words without backtracking, as tiktoken writes the pattern."""

PATTERNS = frozenset([GPT2, CL100K, GPT4, GPT4.replace(r"\p{N}{1,3}", r"\p{N}")])
"""Word patterns of GPT-2, tiktoken's cl100k, Llama 3, Qwen 2."""

_CLASSES = (r"\p{L}", r"\p{N}", r"\s")


class NotEquivalent(ValueError):
    """The tokenizer needs the engine of the ``tokenizers`` library; says why."""


class FastBpe:
    """Encodes as the tokenizer.json does, several times as fast.

    Raises:
        NotEquivalent: on construction, when that cannot be shown.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        pattern = word_pattern(content)
        if pattern is None:
            raise NotEquivalent("its words are not found by a known pattern alone, or something else changes the text")
        if not _same_classes():
            raise NotEquivalent("the two engines know different versions of Unicode")
        ranked, ids = _ranked_tokens(content)
        self._ids = ids
        self.lengths = np.zeros(int(ids.max()) + 1, np.int64)
        """int64[V]: bytes of each token that it makes."""
        self.lengths[ids] = [len(token) for token in ranked]
        self._encoding = tiktoken.Encoding(
            "curate",
            pat_str=_FASTER.get(pattern, pattern),
            mergeable_ranks={token: i for i, token in enumerate(ranked)},
            special_tokens={},
        )

    def encode(self, text: str) -> NDArray[np.uint32]:
        """uint32[T]: the ids of a text; nothing in it is special."""
        return self._ids[self._encoding.encode_to_numpy(text, disallowed_special=())]


def word_pattern(content: dict[str, Any]) -> str | None:
    """The pattern that alone decides on the words of a tokenizer.json, or None.

    None where a normaliser, dropout, a prefix space or an added token that is matched in ordinary text interferes, or
    the pattern is not one of :data:`PATTERNS`.
    """
    model, before = content.get("model") or {}, content.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", []) if before.get("type") == "Sequence" else [before]
    if content.get("normalizer") or model.get("type") != "BPE" or model.get("dropout") or not steps:
        return None
    if any(not token.get("special") for token in content.get("added_tokens") or []):
        return None
    *splits, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return None
    if not splits:
        return GPT2 if last.get("use_regex", True) else None
    pattern = (splits[0].get("pattern") or {}).get("Regex")
    isolated = splits[0].get("behavior") == "Isolated" and not splits[0].get("invert")
    if len(splits) != 1 or splits[0].get("type") != "Split" or not isolated or last.get("use_regex", True):
        return None
    return pattern if pattern in PATTERNS else None


def _ranked_tokens(content: dict[str, Any]) -> tuple[list[bytes], NDArray[np.uint32]]:
    """(tokens as bytes: the 256 bytes, then the reachable ones by rank; their ids uint32[n])."""
    model = content["model"]
    if any(model.get(name) for name in ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")):
        raise NotEquivalent("its model is not a plain byte-level BPE")
    vocabulary: dict[str, int] = model["vocab"]
    characters = byte_characters()
    if not all(character in vocabulary for character in characters):
        raise NotEquivalent("its vocabulary lacks some of the 256 bytes")
    pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in model["merges"]]
    whole = models.BPE(vocab=vocabulary, merges=pairs)
    merged = list(dict.fromkeys(a + b for a, b in pairs))
    reachable = [token for token in merged if len(whole.tokenize(token)) == 1]
    if model.get("ignore_merges") and len(vocabulary.keys() - set(reachable) - set(characters)) > len(
        content.get("added_tokens") or []
    ):
        raise NotEquivalent("it holds tokens that only whole words can become")
    rank = {token: i for i, token in enumerate(merged)}
    # Where several pairs make one token, their merges must follow each other.
    if any(rank["".join(later)] < rank["".join(earlier)] for earlier, later in pairwise(pairs)):
        raise NotEquivalent("its merges are not in the order of the tokens that they make")
    value = {character: i for i, character in enumerate(characters)}
    names = [*characters, *reachable]
    tokens = [bytes(value[character] for character in name) for name in names]
    return tokens, np.array([vocabulary[name] for name in names], np.uint32)


@lru_cache(maxsize=1)
def byte_characters() -> tuple[str, ...]:
    """The character that stands for each byte in a byte-level vocabulary, as GPT-2 chose them."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    characters = {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return tuple(characters[byte] for byte in range(256))


@lru_cache(maxsize=1)
def _same_classes() -> bool:
    """Whether letters, numbers and white space are the same characters for both engines.

    Asked at the ends of every run of characters of one general category, where another version of Unicode shows; the
    tests ask all characters of the locked versions.
    """
    category = [unicodedata.category(chr(point)) for point in range(0x110000)]
    ends = [p for p in range(1, 0x110000) if category[p] != category[p - 1]]
    probe = "".join(chr(p) for p in sorted({*ends, *(p - 1 for p in ends)}) if not 0xD800 <= p < 0xE000)
    return all(class_members(pattern, probe) == class_members(pattern, probe, fast=True) for pattern in _CLASSES)


def class_members(pattern: str, text: str, fast: bool = False) -> set[str]:
    """The characters of ``text`` that match a pattern of one character, to the one engine or the other."""
    if not fast:
        words = pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(text)
        return set(text) - {character for word, _ in words for character in word}
    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("class", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return set(bytes(encoding.encode_ordinary(text)).decode())


def reference(content: bytes) -> Tokenizer:
    """The tokenizer in the engine that defines its result, set so that nothing in a text is special."""
    tokenizer = Tokenizer.from_buffer(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer
