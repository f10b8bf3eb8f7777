"""Words of English text as datatrove's filters count them: the tokens of spaCy's blank English tokenizer, compiled.

A text is cut at white space into chunks. From each chunk prefixes and suffixes are split as long as there are any; what
is left is an exception (:mod:`curate.quality.words`), a URL, or is split at infixes. The rules are those of spaCy
3.8 (:mod:`curate.quality.word_rules`); ``docs/quality.md`` says how far the words agree. White space is
never a word.

Legend: positions are byte offsets into ``data``; a chunk is ``data[start:end]``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from curate.base.compiled import inner, kernel, tiny
from curate.base.text import Bytes, Offsets
from curate.quality import word_rules
from curate.quality.blocklist import is_url
from curate.quality.lines import Flags
from curate.quality.octets import SUFFIX, character_flags, hash_bytes
from curate.quality.word_rules import EXCEPTION, PAIRS, UNIT, Pairs, Rules, find_exception, rule_slot, shape

_MOST_MERGED = 16
"""Words that an exception may be put together from again."""

_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa "
    "mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа "
    "Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тбكم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم كغ ملغ كوب اكواب "
    "+ US$ C$ A$"
).split()
"""What is split from a number (``тбكم`` is a slip in the original list that is kept)."""


_BYTE = np.uint64(0xFF)


class WordTables(NamedTuple):
    """What the word splitter looks up."""

    flags: Flags
    """uint32[LIMIT]: classes of characters."""
    rules: Rules
    """uint64[S, 3], open addressing: hash of an exception or unit (0 where empty), what it is, and where it merges.

    What it is: the bytes of up to three words in 8 bits each, EXCEPTION, UNIT. Where it merges: bit b is set where,
    without exceptions, one of its words would end at byte b; 0 when it is one word then.
    """
    pairs: Pairs
    """bool[2**16 + 2**14]: by :func:`_pair`, whether two words may begin an exception that is to be merged; then by
    :func:`shape`, whether bytes may be an exception (most are told apart by this table, which fits the first cache)."""


@tiny
def _pair(first_byte: int, length: int, second_byte: int) -> int:
    return ((first_byte * 31 + min(length, 15)) * 257 + second_byte) & (PAIRS - 1)


@inner
def _put_words(at: int, lengths: np.uint64, n: int, starts: Offsets, ends: Offsets) -> int:
    """Number of words, after those of an exception at ``at`` were added to n; ``lengths`` are 8 bits each."""
    while lengths & _BYTE:
        starts[n] = at
        at += np.int64(lengths & _BYTE)
        ends[n] = at
        lengths = (lengths & np.uint64(0xFFFFFF)) >> np.uint64(8)
        n += 1
    return n


@inner
def _merge(data: Bytes, starts: Offsets, ends: Offsets, n: int, rules: Rules, pairs: Pairs) -> int:
    """Words left of n, in place, after words that make up an exception became its words again (the longest first)."""
    out = 0
    i = 0
    while i < n:
        best = -1
        best_j = i
        if i + 1 < n and pairs[_pair(np.int64(data[starts[i]]), ends[i] - starts[i], np.int64(data[starts[i + 1]]))]:
            bounds = np.uint64(0)
            for j in range(i, min(n, i + _MOST_MERGED)):
                if ends[j] - starts[i] > word_rules.MOST_EXCEPTION_BYTES:
                    break
                bounds |= np.uint64(1) << np.uint64(ends[j] - starts[i])
                if j > i:
                    slot = rule_slot(hash_bytes(data, starts[i], ends[j]), rules, EXCEPTION)
                    if slot >= 0 and rules[slot, 2] == bounds:
                        best, best_j = slot, j
        if best < 0:
            starts[out], ends[out] = starts[i], ends[i]
            out += 1
            i += 1
            continue
        out = _put_words(starts[i], rules[best, 1], out, starts, ends)
        i = best_j + 1
    return out


@inner
def _split(data: Bytes, start: int, end: int, tables: WordTables, starts: Offsets, ends: Offsets) -> int:
    """Number of words of a chunk before exceptions inside it are merged; the last end is left open."""
    flags, rules, pairs = tables
    capacity = starts.shape[0]
    n, suffixes, size = 0, 0, -1
    while start < end and end - start != size:
        if find_exception(data, start, end, rules, pairs) >= 0:
            break
        size = end - start
        prefix = word_rules.prefix_bytes(data, start, end, flags)
        if prefix and start + prefix < end and find_exception(data, start + prefix, end, rules, pairs) >= 0:
            starts[n] = start
            n += 1
            start += prefix
            break
        suffix = word_rules.suffix_bytes(data, start + prefix, end, flags, rules)
        if suffix:
            # Suffixes wait, outermost first, at the far end of the array.
            suffixes += 1
            starts[capacity - suffixes] = end - suffix
            if start < end - suffix and find_exception(data, start, end - suffix, rules, pairs) >= 0:
                end -= suffix
                break
            end -= suffix
        if prefix:
            starts[n] = start
            n += 1
            start += prefix
    if start < end:
        slot = find_exception(data, start, end, rules, pairs)
        if slot >= 0:
            n = _put_words(start, rules[slot, 1], n, starts, ends)
        elif is_url(data, start, end, flags):
            starts[n] = start
            n += 1
        else:
            first = start
            left, at = word_rules.infix_at(data, first, end, start, flags)
            while left != end:
                if left != first:
                    if left != start:
                        starts[n] = start
                        n += 1
                    starts[n] = left
                    n += 1
                    start = at
                left, at = word_rules.infix_at(data, first, end, at, flags)
            if start < end:
                starts[n] = start
                n += 1
    for k in range(suffixes, 0, -1):
        starts[n] = starts[capacity - k]
        n += 1
    for k in range(n - 1):
        ends[k] = starts[k + 1]
    return n


@tiny
def is_marked_word(data: Bytes, start: int, end: int, flags: Flags, pairs: Pairs) -> bool:
    """Whether a chunk of ASCII letters and one more byte is a word and a mark, as no rule needs to tell.

    Most chunks that are no word by themselves are ``words,`` or ``words.``; False where an exception is possible.
    """
    mark = np.int64(data[end - 1])
    splits = mark < 0x80 and flags[mark] & SUFFIX != 0
    if mark == 46:
        splits = 97 <= data[end - 2] <= 122
    return (
        splits
        and not pairs[shape(data, start, end)]
        and not pairs[shape(data, start, end - 1)]
        and not pairs[_pair(np.int64(data[start]), end - 1 - start, mark)]
    )


@inner
def chunk_words(data: Bytes, start: int, end: int, tables: WordTables, starts: Offsets, ends: Offsets) -> int:
    """Number of words of a chunk, written to ``starts`` and ``ends``, which must have room for a word a byte."""
    n = _split(data, start, end, tables, starts, ends)
    if n:
        ends[n - 1] = end
    return _merge(data, starts, ends, n, tables.rules, tables.pairs) if n > 1 else n


@kernel
def _words_of_chunk(data: Bytes, tables: WordTables, starts: Offsets, ends: Offsets) -> int:
    """:func:`chunk_words` of all of ``data``."""
    return chunk_words(data, 0, data.shape[0], tables, starts, ends)


@kernel
def word_hash(word: Bytes) -> np.uint64:
    """:func:`hash_bytes` of all of ``word``."""
    return hash_bytes(word, 0, word.shape[0])


@kernel
def _shape_of(chunk: Bytes) -> int:
    return shape(chunk, 0, chunk.shape[0])


@kernel
def _pair_of(first_byte: int, length: int, second_byte: int) -> int:
    return _pair(first_byte, length, second_byte)


@lru_cache(maxsize=1)
def word_tables() -> WordTables:
    """The tables of the word splitter, built once a process."""
    flags = character_flags()
    slots = 4096
    tables = WordTables(flags, np.zeros((slots, 3), np.uint64), np.zeros(PAIRS + (1 << 14), np.bool_))

    def slot_of(text: str) -> int:
        key = int(word_hash(np.frombuffer(text.encode(), np.uint8)))
        slot = (key ^ (key >> 32)) % slots
        while tables.rules[slot, 0] not in (0, key):
            slot = (slot + 1) % slots
        tables.rules[slot, 0] = key
        return slot

    exceptional = exceptions()
    # Without exceptions in the tables yet, these are the words by the other rules.
    for unit in _UNITS:
        tables.rules[slot_of(unit), 1] |= UNIT
    bare = {chunk: split_words(chunk, tables) for chunk in exceptional}
    for chunk, words in exceptional.items():
        slot = slot_of(chunk)
        lengths = sum(len(word.encode()) << 8 * k for k, word in enumerate(words))
        tables.rules[slot, 1] |= EXCEPTION | np.uint64(lengths)
        data = np.frombuffer(chunk.encode(), np.uint8)
        tables.pairs[_shape_of(data)] = True
        parts = [part.encode() for part in bare[chunk]]
        if len(parts) > 1:
            ends = np.cumsum([len(part) for part in parts])
            tables.rules[slot, 2] = sum(1 << int(end) for end in ends)
            tables.pairs[_pair_of(parts[0][0], len(parts[0]), parts[1][0])] = True
    return tables


def split_words(text: str, tables: WordTables | None = None) -> list[str]:
    """The words of one text: for people and tests; the statistics never build this list."""
    tables = tables or word_tables()
    words: list[str] = []
    for chunk in text.split():
        data = np.frombuffer(chunk.encode("utf-8"), np.uint8)
        starts, ends = np.empty(len(data) + 1, np.int64), np.empty(len(data) + 1, np.int64)
        n = _words_of_chunk(data, tables, starts, ends)
        words += [data[a:b].tobytes().decode("utf-8") for a, b in zip(starts[:n], ends[:n], strict=True)]
    return words


_NOT_SPLIT = "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore".split()

_WHOLE = """
' \\") <space> '' C++ ä. ö. ü. — \\t \\n
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-((
:((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :*
:-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__-
v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<)
(*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>
doin goin nothin nuthin ol somethin Doin Goin Nothin Nuthin Ol Somethin em ll nuff 'em 'll 'nuff
doin' goin' nothin' nuthin' ol' somethin' Doin' Goin' Nothin' Nuthin' Ol' Somethin'
lovin lovin' Lovin Lovin' havin havin' Havin Havin'
'S 's ‘S ‘s and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout 'd ma'am Ma'am o'clock O'clock
Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans.
Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C. Sep.
Sept. Tenn. Va. Wash. Wis. a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd.
Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s.
""".split()

_SPLIT = """
i|'m i|m i|'m|a i|m|a
y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na got|ta Got|ta
let|'s Let|'s c'm|on C'm|on
""".split()

_PRONOUNS, _QUESTIONS = "i you he she it we they", "who what when where why how there"
_WILL_AND_WOULD = "'ll ll 'll|'ve ll|ve 'd d 'd|'ve d|ve"
_ENDINGS = (
    (_PRONOUNS, _WILL_AND_WOULD),
    ("i you we they", "'ve ve"),
    ("you we they", "'re re"),
    ("he she it", "'s s"),
    (f"{_QUESTIONS} that this", "'s s"),
    (f"{_QUESTIONS} that this these those", _WILL_AND_WOULD),
    (f"{_QUESTIONS} these those", "'re re 've ve"),
    ("ca could do does did had may might must need ought sha should wo would", "n't nt n't|'ve nt|ve"),
    ("could might must should would", "'ve ve"),
    ("ai are is was were have has dare", "n't nt"),
)
"""(words, endings): every word, small and capitalised, with every ending."""


@lru_cache(maxsize=1)
def exceptions() -> dict[str, tuple[str, ...]]:
    """The words of every chunk that is split in its own way; they concatenate to the chunk."""
    rules: dict[str, tuple[str, ...]] = {}
    for item in _SPLIT + [item.replace("i|", "I|", 1) for item in _SPLIT if item.startswith("i|")]:
        rules[item.replace("|", "")] = tuple(item.split("|"))
    for words, endings in _ENDINGS:
        for word in (form for known in words.split() for form in (known, known.title())):
            for ending in endings.split():
                rules[word + ending.replace("|", "")] = (word, *ending.split("|"))
    for hour in range(1, 13):
        for period in ("a.m.", "am", "p.m.", "pm"):
            rules[f"{hour}{period}"] = (str(hour), period)
    for unit in "cfkCFK":
        rules[f"°{unit}."] = ("°", unit, ".")
    for whole in [*_WHOLE, *(f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz")]:
        rules[whole] = (whole,)
    for word in _NOT_SPLIT:
        rules.pop(word, None)
    for chunk, words in list(rules.items()):
        if "'" in chunk:
            rules[chunk.replace("'", "’")] = tuple(word.replace("'", "’") for word in words)
    return rules
