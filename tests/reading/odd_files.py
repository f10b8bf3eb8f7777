"""Odd files by the hundred: `python -m tests.reading.odd_files 300` makes so many of each kind; the tests make a few.

Every kind draws a file from a seed, with what is right beside it, and asserts that it is read so.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import random
import sys
import zlib
from collections.abc import Callable

import brotli
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate.base.side_files import decode_side_file, entries
from curate.reading import formats
from curate.reading.charsets import decode_page

WORDS = "the harbour keeps a lantern for every ship that comes home late and nobody counts the boats".split()


def prose(draw: random.Random, n: int = 40) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(n)) + "."


def page_of(text: str, head: str = "") -> str:
    return f"<!doctype html><html><head>{head}<title>T</title></head><body><article><h1>Head</h1><p>{text}</p></article></body></html>"


def record(body: bytes, number: int, kind: str = "response", length: int | None = None, **change: str) -> bytes:
    headers = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{number}>",
        "WARC-Target-URI": f"http://example.org/{number}",
        "WARC-Date": "2024-05-18T01:58:10Z",
        "Content-Type": "application/http; msgtype=response",
        "Content-Length": str(len(body) if length is None else length),
    }
    lines = [f"{name}: {value}" for name, value in {**headers, **change}.items()]
    return "\r\n".join(["WARC/1.0", *lines]).encode() + b"\r\n\r\n" + body + b"\r\n\r\n"


def http(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", *(headers or ("Content-Type: text/html; charset=utf-8",))]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


HTML = "Content-Type: text/html"


def deflate_raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def chunked(data: bytes) -> bytes:
    parts = [data[at : at + 37] for at in range(0, len(data), 37)]
    return b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def good_record(draw: random.Random, page: bytes, number: int) -> bytes:
    """A record that is whole, however odd it looks."""
    name = draw.choice(sorted(PACKED))
    odd = [
        lambda: record(http(page), number),
        lambda: record(http(PACKED[name](page), HTML, f"Content-Encoding: {name}"), number),
        lambda: record(http(deflate_raw(page), HTML, "Content-Encoding: deflate"), number),
        lambda: record(http(chunked(page), HTML, "Transfer-Encoding: chunked"), number),
        lambda: record(
            http(chunked(PACKED[name](page)), HTML, f"content-encoding: {name}", "transfer-encoding: chunked"), number
        ),
        lambda: record(http(page, HTML, "Content-Encoding: utf-8"), number),
        lambda: record(http(page, HTML, "Set-Cookie: " + "x" * 40_000), number),
        lambda: record(http(page).replace(b"\r\n", b"\n", 2), number),
        lambda: record(http(page), number).replace(b"\r\n", b"\n", 7),
        lambda: record(http(page), number).replace(b"Content-Length", b"content-length", 1),
        lambda: record(http(page), number).replace(b"WARC-Date: ", b"WARC-Date:\r\n  ", 1),
        lambda: record(http(page), number) + b"\r\n\r\n\n",
        lambda: record(http(page), number)[:-4] + b"\n",
        lambda: record(page, number, "resource", **{"Content-Type": "text/html"}),
        lambda: record(http(page), number, **{"WARC-Target-URI": f"<http://example.org/{number}>"}),
    ]
    return draw.choice(odd)()


def bad_record(draw: random.Random, page: bytes, number: int) -> bytes:
    """A record that must be one reject, and cost nothing else."""
    name = draw.choice(sorted(PACKED))
    whole = record(http(page), number)
    header = len(whole) - len(page) - 4
    cut = draw.randrange(header, len(whole) - 30)
    odd = [
        lambda: record(http(page, HTML, "Transfer-Encoding: chunked"), number),
        lambda: record(http(page, HTML, f"Content-Encoding: {name}"), number),
        lambda: record(http(PACKED[name](page)[:-20], HTML, f"Content-Encoding: {name}"), number),
        lambda: record(http(page, HTML, "Content-Encoding: rot13"), number),
        lambda: record(http(chunked(page)[:-60], HTML, "Transfer-Encoding: chunked"), number),
        lambda: record(http(page), number, length=len(http(page)) + draw.randrange(5, 4_000)),
        lambda: record(http(page), number, length=10 ** draw.randrange(6, 15)),
        lambda: record(http(page), number, length=draw.randrange(0, len(http(page)) - 10)),
        lambda: record(http(page), number, **{"Content-Length": draw.choice(["", "x", "-1", "1e3", "9" * 30])}),
        lambda: whole[:cut],
        lambda: whole[: draw.randrange(30, 100)] + b"\r\n",
        lambda: b"\r\n" + draw.randbytes(200).replace(b"\n", b" ") + b"\r\n",
        lambda: record(http(b"\x89PNG", "Content-Type: image/png"), number),
    ]
    return draw.choice(odd)()


def warc(seed: int) -> None:
    """One bad record costs that record, in a plain file and in one of gzip members or zstd frames."""
    draw = random.Random(seed)
    pages = [prose(draw) + f" number{number}" for number in range(draw.randrange(2, 7))]
    records = [good_record(draw, page_of(text).encode(), number) for number, text in enumerate(pages)]
    if draw.random() < 0.5:
        records.insert(draw.randrange(len(records)), record(b"GET / HTTP/1.1\r\n\r\n", 90, "request"))
    bad = draw.random() < 0.8
    if bad:
        records.insert(draw.randrange(len(records) + 1), bad_record(draw, page_of(prose(draw)).encode(), 99))
    name, pack = draw.choice(
        [("a.warc", bytes), ("a.warc.gz", gzip.compress), ("a.warc.zst", zstandard.ZstdCompressor().compress)]
    )
    check_pages(b"".join(map(pack, records)), name, pages, int(bad))


def damaged_member(seed: int) -> None:
    """Damage inside a gzip member or a zstd frame of a web archive costs that record."""
    draw = random.Random(seed)
    pages = [prose(draw, 80) + f" number{number}" for number in range(5)]
    compress = zstandard.ZstdCompressor(write_checksum=True).compress
    name, pack = draw.choice([("a.warc.gz", gzip.compress), ("a.warc.zst", compress)])
    members = [pack(record(http(page_of(text).encode()), number)) for number, text in enumerate(pages)]
    hit = draw.randrange(len(members))
    member = bytearray(members[hit])
    member[draw.randrange(20, len(member))] ^= 1 << draw.randrange(8)
    members[hit] = bytes(member)
    data = b"".join(members)
    batches = list(formats.read(io.BytesIO(data), name))
    if any(batch.rejects for batch in batches):
        del pages[hit]
    check_pages(data, name, pages, 5 - len(pages))  # or the bit was one of no meaning


def check_pages(data: bytes, name: str, pages: list[str], rejects: int) -> None:
    batches = list(formats.read(io.BytesIO(data), name))
    found = [text for batch in batches for text in batch.texts.to_pylist()]
    assert [text.split("\n")[-1].strip() for text in found] == pages, (found, pages)
    told = [reject for batch in batches for reject in batch.rejects]
    assert len(told) == rejects, told
    positions = sorted([*(p for batch in batches for p in batch.positions.tolist()), *(one.position for one in told)])
    assert positions == list(range(len(positions)))


SAMPLES = {
    "windows-1252": "Déjà vu – “naïve” café, Ångström für Straße €5. ",
    "iso-8859-1": "Déjà vu – “naïve” café, Ångström für Straße €5. ",
    "iso-8859-2": "Příliš žluťoučký kůň úpěl ďábelské ódy. ",
    "windows-1251": "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
    "koi8-r": "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
    "windows-1253": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ",
    "shift_jis": "いろはにほへと ちりぬるを 我が世誰ぞ 常ならむ。",
    "euc-jp": "いろはにほへと ちりぬるを 我が世誰ぞ 常ならむ。",
    "iso-2022-jp": "いろはにほへと ちりぬるを 我が世誰ぞ 常ならむ。",
    "gb2312": "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏。",
    "gb18030": "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏。",
    "big5": "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏。",
    "euc-kr": "다람쥐 헌 쳇바퀴에 타고파. 키스의 고유조건은 입술끼리 만나야 하고. ",
    "utf-8": "Ünïcode – everywhere, да, 天地, 다람쥐 😀. ",
}


def page_encoding(seed: int) -> None:
    """A page is read by its bytes first, then by its own word, then by the server's."""
    draw = random.Random(seed)
    label = draw.choice(sorted(SAMPLES))
    text = SAMPLES[label] * draw.randrange(1, 30)
    codec = "windows-1252" if label == "iso-8859-1" else label
    wrong = draw.choice(sorted(set(SAMPLES) - {"iso-2022-jp"}))
    if label == "utf-8":
        own, server = draw.choice([None, "utf-8", wrong, "nonsense"]), draw.choice([None, wrong, "nonsense"])
    else:
        own, server = draw.choice([(label, None), (label, wrong), (None, label), ("nonsense", label)])
    head = "" if own is None else draw.choice([f'<meta charset="{own}">', f"<META content='text/html; charset={own}'>"])
    whole = page_of(text, head)
    data = whole.encode(codec)
    if label == "utf-8" and draw.random() < 0.3:
        data = codecs.BOM_UTF8 + data
    elif label == "utf-8" and draw.random() < 0.3:
        mark, name = draw.choice([(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")])
        data = mark + whole.encode(name)
    elif label == "utf-8" and draw.random() < 0.4:
        at = data.index("–".encode()) + 3
        data = data[:at] + draw.choice([b"\xff", b"\xe9", b"\x80"]) + data[at:]
        whole = data.decode("utf-8", "replace")
        assert whole.count("\ufffd") == 1
    elif label == "utf-8" and draw.random() < 0.4:
        data = data[: data.rindex("天".encode()) + draw.randrange(1, 3)]
        whole = data.decode("utf-8", "replace")
        assert whole.count("\ufffd") == 1
    found = decode_page(data, server)
    assert found == whole, (label, own, server, found[:300], whole[:300])


def side_file(seed: int) -> None:
    """A list is its entries, whatever program wrote it."""
    draw = random.Random(seed)
    wanted = [f"entry-{n}.example/é#x" for n in range(draw.randrange(1, 9))]
    lines: list[str] = []
    for entry in wanted:
        lines += draw.choice([[], [""], ["# a remark"], ["  "], ["#"]])
        lines.append(draw.choice(["", " ", "\t"]) + entry + draw.choice(["", " ", "\t", " # why", "\t# why # so"]))
    text = draw.choice(["\n", "\r\n", "\r"]).join(lines) + draw.choice(["", "\n", "\r\n"])
    mark, name = draw.choice(
        [
            (b"", "utf-8"),
            (codecs.BOM_UTF8, "utf-8"),
            (codecs.BOM_UTF16_LE, "utf-16-le"),
            (codecs.BOM_UTF16_BE, "utf-16-be"),
        ]
    )
    pack = draw.choice([bytes, gzip.compress, zstandard.ZstdCompressor().compress])
    found = decode_side_file(pack(mark + text.encode(name)), "a list")
    assert entries(found) == wanted
    assert entries(found, with_spaces=True) == wanted


def json_lines(seed: int) -> None:
    """A bad line costs that line, in every encoding and compression; what is behind the end of the data is named."""
    draw = random.Random(seed)
    texts = [prose(draw, 5) + " é😀" for _ in range(draw.randrange(2, 9))]
    lines = [json.dumps({"text": text}, ensure_ascii=draw.random() < 0.5) for text in texts]
    bad = draw.random() < 0.7
    if bad:
        odd = ["{", "[]", '{"text": 7}', '{"text": "\\ud800"}', "[" * 5_000, '{"text": ""}', "x" * 3_000, '{"x": 1}']
        lines.insert(draw.randrange(len(lines) + 1), draw.choice(odd))
    mark, name = draw.choice(
        [
            (b"", "utf-8"),
            (codecs.BOM_UTF8, "utf-8"),
            (codecs.BOM_UTF16_LE, "utf-16-le"),
            (codecs.BOM_UTF32_BE, "utf-32-be"),
        ]
    )
    data = mark + draw.choice(["\n", "\r\n", "\n\n"]).join([*lines, ""]).encode(name)
    ending, pack = draw.choice([("", bytes), (".gz", gzip.compress), (".zst", zstandard.ZstdCompressor().compress)])
    cut = draw.randrange(len(data))
    packed = pack(data) if draw.random() < 0.5 else pack(data[:cut]) + pack(data[cut:])
    junk = draw.random() < 0.4 and ending != ""
    if junk:
        packed += b"left over"
    batches = list(formats.read(io.BytesIO(packed), f"a.jsonl{ending}"))
    assert [text for batch in batches for text in batch.texts.to_pylist()] == texts
    rejects = [reject for batch in batches for reject in batch.rejects]
    assert len(rejects) == bad + junk, rejects
    if junk:
        assert "9 bytes of the file were not read" in rejects[-1].snippet or rejects[-1].reason == "truncated"


def parquet(seed: int) -> None:
    """A value that is no UTF-8 costs its row, wherever it is, in every type of column."""
    draw = random.Random(seed)
    n = draw.randrange(2, 60)
    texts = [prose(draw, 4).encode() for _ in range(n)]
    bad = sorted(draw.sample(range(n), draw.randrange(0, 3)))
    for row in bad:
        at = draw.choice([0, len(texts[row]) // 2, len(texts[row])])
        texts[row] = texts[row][:at] + b"\xff" + texts[row][at:]
    plain = pa.array(texts, pa.large_binary() if draw.random() < 0.3 else pa.binary())
    string = pa.StringArray.from_buffers(n, *pa.array(texts, pa.binary()).buffers()[1:])
    kinds = [plain, string, plain.dictionary_encode(), pa.array(texts, pa.binary_view())]
    indices = pa.array(range(n), pa.int32())
    kinds.append(pa.DictionaryArray.from_arrays(indices, string))
    table = pa.table({"id": [str(row) for row in range(n)], "text": draw.choice(kinds)})
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=draw.randrange(1, n + 1),
        store_schema=draw.random() < 0.7,
        use_dictionary=draw.random() < 0.5,
        compression=draw.choice(["none", "zstd", "snappy"]),
        data_page_version=draw.choice(["1.0", "2.0"]),
    )
    batches = list(formats.read(io.BytesIO(sink.getvalue()), "a.parquet"))
    assert [int(one) for batch in batches for one in batch.ids] == [row for row in range(n) if row not in bad]
    rejects = [(reject.position, reject.reason) for batch in batches for reject in batch.rejects]
    assert rejects == [(row, "invalid_utf8") for row in bad]


KINDS = (warc, damaged_member, page_encoding, side_file, json_lines, parquet)

if __name__ == "__main__":
    for kind in KINDS:
        failed = []
        for seed in range(int(sys.argv[1])):
            try:
                kind(seed)
            except Exception as error:
                failed.append((seed, type(error).__name__, str(error)[:400]))
        print(
            f"{kind.__name__}: {sys.argv[1]} files, {len(failed)} not read as they should be", *failed[:8], sep="\n  "
        )
