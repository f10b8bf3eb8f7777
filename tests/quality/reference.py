"""The rules in plain Python, as the reference filters state them: what the compiled statistics must equal."""

from __future__ import annotations

import re
from collections import Counter

from curate.quality.stop_words import STOP_WORD_LIST
from curate.quality.words import split_words

SYMBOLS = set("!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»") | {
    chr(c) for first, last in ((0, 8), (11, 12), (13, 31), (127, 159)) for c in range(first, last + 1)
}


def repeated(items: list[str]) -> tuple[int, int]:
    seen: set[str] = set()
    count = chars = 0
    for item in items:
        if item in seen:
            count += 1
            chars += len(item)
        seen.add(item)
    return count, chars


def top_gram(words: list[str], n: int) -> int:
    grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, times = Counter(grams).most_common(1)[0]
    return len(gram) * times


def duplicated(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    chars = i = 0
    while i < len(words) - n + 1:
        gram = tuple(words[i : i + n])
        if gram in seen:
            chars += len("".join(gram))
            i += n
        else:
            seen.add(gram)
            i += 1
    return chars


def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")


def measure(text: str) -> dict[str, float]:
    words = split_words(text)
    solid = [line for line in text.split("\n") if line.strip()]
    paragraphs, paragraph_chars = repeated(re.split(r"\n{2,}", text.strip()))
    lines = re.split(r"\n+", text)
    line_count, line_chars = repeated(lines)
    split_lines = text.splitlines()
    spoken = [word for word in words if any(c not in SYMBOLS for c in word)]
    out: dict[str, float] = {
        "n_bytes": len(text.encode()),
        "n_chars": len(text),
        "n_words": len(words),
        "gopher_repetition_dup_para_frac": ratio(paragraphs, len(re.split(r"\n{2,}", text.strip()))),
        "gopher_repetition_dup_para_char_frac": ratio(paragraph_chars, len(text)),
        "gopher_repetition_dup_line_frac": ratio(line_count, len(lines)),
        "gopher_repetition_dup_line_char_frac": ratio(line_chars, len(text)),
    }
    for n in (2, 3, 4):
        out[f"gopher_repetition_top_{n}_gram"] = ratio(top_gram(words, n), len(text))
    for n in range(5, 11):
        out[f"gopher_repetition_duplicated_{n}_n_grams"] = ratio(duplicated(words, n), len(text))
    return out | {
        "gopher_quality_words": len(spoken),
        "gopher_quality_mean_word_length": ratio(sum(map(len, spoken)), len(spoken)),
        "gopher_quality_hash_ratio": ratio(text.count("#"), len(words)),
        "gopher_quality_ellipsis_ratio": ratio(text.count("...") + text.count("…"), len(words)),
        "gopher_quality_bullet_lines_ratio": ratio(
            sum(x.lstrip().startswith(("•", "-")) for x in split_lines), len(split_lines)
        ),
        "gopher_quality_ellipsis_lines_ratio": ratio(
            sum(x.rstrip().endswith(("...", "…")) for x in split_lines), len(split_lines)
        ),
        "gopher_quality_alpha_words_ratio": ratio(sum(any(c.isalpha() for c in word) for word in words), len(words)),
        "gopher_quality_stop_words": len(set(STOP_WORD_LIST) & set(words)),
        "gopher_quality_alpha_words_ratio_corrected": ratio(
            sum(any(c.isalpha() for c in word) for word in words), len(spoken)
        ),
        "gopher_quality_stop_words_corrected": len(set(STOP_WORD_LIST) & {ascii_lower(word) for word in words}),
        "fineweb_line_punct_ratio_corrected": ratio(sum(map(closed, solid)), len(solid)),
        "fineweb_lines": len(solid),
        "fineweb_line_punct_ratio": ratio(sum(line.endswith((".", "!", "?", "。", "؟")) for line in solid), len(solid)),
        "fineweb_short_line_ratio": ratio(sum(len(line) <= 30 for line in solid), len(solid)),
        "fineweb_char_dup_ratio": ratio(repeated(solid)[1], len(text.replace("\n", ""))),
        "fineweb_list_ratio": ratio(text.count("\n"), len(words)),
    }


def ascii_lower(word: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in word)


def closed(line: str) -> bool:
    """Terminal punctuation, behind which there may be white space, quotes and brackets."""
    while line and line[-1] not in ".!?。؟" and (line[-1].isspace() or line[-1] in QUOTES + ")]"):
        line = line[:-1]
    return line.endswith((".", "!", "?", "。", "؟"))


QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def c4_text(text: str, terminal: bool = True) -> str:
    """The text that C4's line rules leave."""
    kept = []
    for line in text.splitlines():
        line = line.strip()
        words = line.split()
        if any(len(word) > 1000 for word in words):
            continue
        line = CITATION.sub("", line)
        if terminal and (not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...")):
            continue
        if len(words) < 3 or "javascript" in line.lower() or any(phrase in line.lower() for phrase in POLICY):
            continue
        kept.append(line)
    return "\n".join(kept).strip()
