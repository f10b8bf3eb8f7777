"""A stream says what it has not read: bytes behind the end, members that break off, frames with a dictionary."""

from __future__ import annotations

import gzip
import io
import random

import pytest
import zstandard

from curate.reading import formats
from curate.reading.streams import Stream

DATA = b"".join(b"line %d of many\n" % number for number in range(20_000))


def read(data: bytes, compression: str, **options: bytes) -> tuple[bytes, Stream]:
    stream = Stream(io.BytesIO(data), compression, **options)  # type: ignore[arg-type]
    return b"".join(stream), stream


@pytest.mark.parametrize(
    ("compression", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.ZstdCompressor().compress)]
)
@pytest.mark.parametrize("junk", [b"\n", b"left over" * 999, b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"])
def test_bytes_behind_the_end_are_told(compression: str, pack: object, junk: bytes) -> None:
    data = pack(DATA)  # type: ignore[operator]
    found, stream = read(data + junk, compression)
    assert found == DATA
    assert stream.damage is not None
    if stream.damage.reason == "corrupt":
        assert f"{len(junk):,} bytes of the file were not read, from byte {len(data):,} on" in stream.damage.message
    assert read(data, compression)[1].damage is None


def dictionary() -> zstandard.ZstdCompressionDict:
    draw = random.Random(1)
    samples = [b"".join(draw.choice(DATA.split(b"\n")[:99]) for _ in range(20)) for _ in range(300)]
    return zstandard.train_dictionary(2_000, samples)


@pytest.mark.parametrize("packed", [False, True])
def test_frames_with_the_dictionary_at_the_beginning(packed: bool) -> None:
    known = dictionary()
    content = zstandard.ZstdCompressor().compress(known.as_bytes()) if packed else known.as_bytes()
    head = b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content
    frames = [
        zstandard.ZstdCompressor(dict_data=known).compress(DATA[at : at + 9_999]) for at in range(0, len(DATA), 9_999)
    ]
    found, stream = read(head + b"".join(frames), "zstd")
    assert (found, stream.damage) == (DATA, None)
    [batch] = formats.read(io.BytesIO(frames[0]), "a.jsonl.zst")
    assert "ictionary" in batch.rejects[0].snippet


def test_other_skippable_frames_are_passed_over() -> None:
    for magic in (b"\x50\x2a\x4d\x18", b"\x5d\x2a\x4d\x18"):
        frame = zstandard.ZstdCompressor().compress(DATA)
        skipped = magic + (7).to_bytes(4, "little") + b"no dict"
        found, stream = read(skipped + frame + skipped.replace(b"\x5d", b"\x50") + frame, "zstd")
        assert (found, stream.damage) == (DATA + DATA, None)


def test_a_damaged_member_is_bounded_by_the_next() -> None:
    members = [gzip.compress(b"BEGIN %d " % number + DATA[:5_000]) for number in range(4)]
    hit = bytearray(members[1])
    hit[len(hit) // 2] ^= 64
    found, stream = read(b"".join([members[0], bytes(hit), *members[2:]]), "gzip", members_begin=b"BEGIN")
    assert [found.count(b"BEGIN %d" % number) for number in (0, 2, 3)] == [1, 1, 1]
    [damage] = stream.damages
    assert f"{len(hit):,} bytes of the file were not read, from byte {len(members[0]):,} on" in damage.message
    assert stream.damage is None
