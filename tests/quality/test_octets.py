"""Looking at eight bytes at a time finds what looking at one by one does."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from curate.base.compiled import kernel
from curate.quality import lines, octets, words

BYTES = st.binary(max_size=40)


@kernel
def _found(data, start, end, byte):
    return (
        octets.find_byte(data, start, end, byte),
        octets.count_byte(data, start, end, byte),
        octets.count_characters(data, start, end),
        octets.hash_bytes(data, start, end),
    )


@kernel
def _masks(data):
    group = octets.group_at(data, 0)
    return (
        octets.at_most_space(group),
        octets.below_space(group),
        octets.not_ascii(group),
        octets.not_letters(group),
        octets.continuations(group),
        octets.digits_to_capitals(group),
        octets.equal_to(group, np.uint64(data[3])),
    )


@kernel
def _chunk(data, at):
    return lines.next_chunk(data, at, data.shape[0])


@kernel
def _marked(data, flags, pairs):
    return words.is_marked_word(data, 0, data.shape[0], flags, pairs)


def array(data: bytes):
    return np.frombuffer(data, np.uint8)


@given(BYTES, BYTES, BYTES, st.integers(0, 255))
@example(b"", b"\x00" * 8, b"", 0)
@example(b"", b"\x80\x01" * 8, b"", 1)
def test_bytes_are_found_counted_and_hashed_wherever_they_lie(before: bytes, data: bytes, behind: bytes, byte: int):
    at, count, characters, hashed = _found(
        array(before + data + behind), len(before), len(before) + len(data), np.uint64(byte)
    )
    place = data.find(bytes([byte]))
    assert at == len(before) + (place if place >= 0 else len(data))
    assert count == data.count(bytes([byte]))
    assert characters == sum(b & 0xC0 != 0x80 for b in data)
    assert hashed == words.word_hash(array(data)) != 0


@given(st.binary(max_size=20), st.binary(max_size=20))
@example(b"a", b"a\x00")
@example(b"", b"\x00")
@example(b"12345678", b"12345678\x00")
def test_other_bytes_have_another_hash(one: bytes, two: bytes):
    assert (words.word_hash(array(one)) == words.word_hash(array(two))) == (one == two)


@given(st.binary(min_size=8, max_size=8))
@example(bytes([0, 9, 31, 32, 33, 64, 65, 90]))
@example(bytes([47, 48, 57, 58, 90, 91, 176, 218]))
@example(bytes([91, 96, 97, 122, 123, 127, 128, 255]))
def test_masks_mark_the_bytes_that_they_say(data: bytes):
    expected = (
        lambda b: b <= 32,
        lambda b: b < 32,
        lambda b: b >= 128,
        lambda b: not chr(b).isalpha() or b >= 128,
        lambda b: b & 0xC0 == 0x80,
        lambda b: 48 <= b <= 90,
        lambda b: b == data[3],
    )
    for mask, is_marked in zip(_masks(array(data)), expected, strict=True):
        marked = [bool(int(mask) >> (8 * k + 7) & 1) for k in range(8)]
        assert marked == [is_marked(b) for b in data]
        assert int(mask) & 0x7F7F7F7F7F7F7F7F == 0


@given(st.text("ab Z'.\u00e9\u00a0\u2003\u3000\u2028\n\t\x1c\x85\u65e5\U0001f600", max_size=40))
def test_chunks_are_those_of_str_split(text: str):
    data, at, chunks = text.encode(), 0, []
    while True:
        start, letters, at = _chunk(array(data), at)
        if start == at:
            break
        chunk = data[start:at].decode()
        assert letters - start == len(chunk) - len(chunk.lstrip("abZ"))
        chunks.append(chunk)
    assert chunks == text.split()


@given(
    st.text("abcdeinorstCIMU", min_size=1, max_size=6),
    st.sampled_from([chr(b) for b in range(33, 127) if not chr(b).isalpha()]),
)
@example("Mr", ".")
@example("don", "'")
@example("A", ".")
@example("D", ":")
@example("x", "D")
def test_a_word_and_a_mark_are_what_the_rules_make_of_them(word: str, mark: str):
    tables = words.word_tables()
    if _marked(array((word + mark).encode()), tables.flags, tables.pairs):
        assert words.split_words(word + mark) == [word, mark]


def test_most_words_with_a_mark_need_no_rules():
    tables = words.word_tables()
    chunks = ["was,", "you.", "Hello!", "it;", "end)", 'said"', "why?"]
    assert all(_marked(array(chunk.encode()), tables.flags, tables.pairs) for chunk in chunks)
