"""The demo corpus: the text that comes with the user's own Python environment, in every input format.

Nothing is downloaded and nothing is shipped. For one environment, limit and seed the files are the same bytes each
time, and a file that would not change is not touched, so that gathering again leaves a workspace up to date.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate.base.errors import RequestError
from curate.base.hashing import salt
from curate.reading import environment
from curate.reading.environment import Source, Text

LIMIT_BYTES = 30_000_000
"""Text of the whole corpus, at most."""

PARSE_BYTES = 32_000_000
"""Source code parsed, at most: 10 to 15 s on one core (measured 2.5 to 3.5 MB/s)."""

MIN_DOCSTRING_SHARE = 0.2
"""Modules with a smaller share of documentation are not parsed: a third more text from the same time (measured)."""

SHARES = {"topics": 0.05, "readmes": 0.15, "licences": 0.15, "pages": 0.15}
"""Most of LIMIT_BYTES that a source takes; docstrings take the rest."""

PACKAGE_SHARE = 0.15
"""Most of the docstrings that one package gives, so that a large one does not become the corpus."""

FILE_BYTES = 4_000_000
"""Text of one file of docstrings."""

INPUTS = (
    {"source": "docstrings", "path": "docstrings/*.jsonl.zst"},
    {"source": "readmes", "path": "readmes.jsonl.gz"},
    {"source": "licences", "path": "licences.jsonl"},
    {"source": "topics", "path": "topics.parquet"},
    {"source": "pages", "path": "pages"},
    {"source": "bad", "path": "bad"},
)
"""The ``inputs`` of a recipe beside the corpus. A source of which the environment has nothing has no files."""

_MARK = "GATHERED.txt"
_MARK_TEXT = "Gathered by `curate demo` from the text of a Python environment; gathering again replaces these files.\n"
_OWN = ("docstrings", "readmes.jsonl.gz", "licences.jsonl", "topics.parquet", "pages", "bad")


class Summary(NamedTuple):
    """What was gathered.

    Attributes:
        documents: source → documents, without the bad records.
        text_bytes: source → bytes of UTF-8 text.
        packages: distinct packages.
        bad_records: records that a reader must reject.
        unreadable: files of the environment that could not be read or parsed.
        inputs: the entries of INPUTS that have files.
    """

    documents: dict[str, int]
    text_bytes: dict[str, int]
    packages: int
    bad_records: int
    unreadable: int
    inputs: list[dict[str, str]]


def gather(
    out_dir: Path, limit_bytes: int = LIMIT_BYTES, seed: int = 0, folders: Sequence[Path] | None = None
) -> Summary:
    """Write the demo corpus into ``out_dir`` and say what is in it.

    Args:
        out_dir: a folder that does not exist, is empty, or was gathered before.
        limit_bytes: most text to take. Where the environment has more, a hash of ``seed`` and path draws the files.
        seed: another seed, another draw.
        folders: where to look instead of the running Python's package folders.

    Raises:
        RequestError: ``out_dir`` holds other files under the names that would be written, or cannot be written.
    """
    _check(out_dir)
    roots = environment.package_folders() if folders is None else list(folders)
    walked = environment.files(roots)
    drawn: dict[str, list[Source]] = defaultdict(list)
    for source in sorted(walked, key=lambda source: (salt(seed, f"demo/{source.path}"), source.path)):
        drawn[environment.kind_of(source)].append(source)
    taken: dict[str, list[Text]] = {"topics": _within(environment.topics(roots), int(SHARES["topics"] * limit_bytes))}
    unreadable = 0
    readers = {"readme": environment.readme, "licence": environment.document, "page": environment.document}
    for kind, read in readers.items():
        name = f"{kind}s"
        taken[name], failed = _texts(drawn[kind], read, int(SHARES[name] * limit_bytes))
        unreadable += failed
    rest = limit_bytes - sum(_size(text) for texts in taken.values() for text in texts)
    taken["docstrings"], failed = _docstrings(drawn["module"], rest)
    unreadable += failed

    written, bad_records = _bad_files()
    written |= _corpus_files(taken)
    _write(out_dir, written)
    heads = {path.split("/", 1)[0] for path in written}
    order = [entry["source"] for entry in INPUTS if entry["source"] in taken]
    return Summary(
        documents={name: len(taken[name]) for name in order},
        text_bytes={name: sum(map(_size, taken[name])) for name in order},
        packages=len({text.package for texts in taken.values() for text in texts}),
        bad_records=bad_records,
        unreadable=unreadable,
        inputs=[dict(entry) for entry in INPUTS if entry["path"].split("/", 1)[0] in heads],
    )


def _size(text: Text) -> int:
    return len(text.text.encode())


def _within(texts: Iterable[Text], budget: int) -> list[Text]:
    """The first texts that fit into ``budget`` bytes together; one that does not fit is passed over."""
    taken = []
    for text in texts:
        if (size := _size(text)) <= budget:
            taken.append(text)
            budget -= size
    return taken


def _texts(
    sources: Iterable[Source], read: Callable[[Source, bytes], list[Text]], budget: int
) -> tuple[list[Text], int]:
    """(texts that fit into ``budget`` bytes, sorted by id; number of unreadable files)."""
    found: list[Text] = []
    unreadable = 0
    for source in sources:
        try:
            found += read(source, source.read())
        except (OSError, UnicodeDecodeError):
            unreadable += 1
    return sorted(_within(found, budget), key=lambda text: text.id.encode()), unreadable


def _docstrings(sources: Iterable[Source], budget: int) -> tuple[list[Text], int]:
    """(docstrings sorted by id, those of one id in the order of the file; number of unreadable files)."""
    found: list[Text] = []
    by_package: Counter[str] = Counter()
    unreadable = parsed = 0
    for source in sources:
        left = budget - by_package.total()
        if left <= 0 or parsed >= PARSE_BYTES:
            break
        if by_package[source.package] >= PACKAGE_SHARE * budget:
            continue
        try:
            code = source.read()
            if environment.docstring_share(code) < MIN_DOCSTRING_SHARE:
                continue
            parsed += len(code)
            texts = environment.docstrings(source, code)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
            unreadable += 1
            continue
        texts = _within(texts, left)
        found += texts
        by_package[source.package] += sum(map(_size, texts))
    return sorted(found, key=lambda text: text.id.encode()), unreadable


def _corpus_files(taken: dict[str, list[Text]]) -> dict[str, bytes]:
    """Path below the corpus → bytes, for every source that has a text."""
    out: dict[str, bytes] = {}
    for number, part in enumerate(_parts(taken["docstrings"])):
        out[f"docstrings/docstrings-{number:03d}.jsonl.zst"] = zstandard.ZstdCompressor(level=3).compress(_lines(part))
    if taken["readmes"]:
        out["readmes.jsonl.gz"] = gzip.compress(_lines(taken["readmes"]), mtime=0)
    if taken["licences"]:
        out["licences.jsonl"] = _lines(taken["licences"])
    if taken["topics"]:
        table = pa.table({name: [getattr(text, name) for text in taken["topics"]] for name in Text._fields})
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        out["topics.parquet"] = buffer.getvalue()
    for text in taken["pages"]:
        name = text.id if text.id.lower().endswith((".md", ".txt")) else f"{text.id}.txt"
        out[f"pages/{name}"] = text.text.encode()
    return out


def _parts(texts: Sequence[Text]) -> list[list[Text]]:
    parts: list[list[Text]] = []
    size = FILE_BYTES
    for text in texts:
        if size >= FILE_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(text)
        size += _size(text)
    return parts


def _lines(texts: Iterable[Text]) -> bytes:
    return "".join(json.dumps(text._asdict(), ensure_ascii=False) + "\n" for text in texts).encode()


def _bad_files() -> tuple[dict[str, bytes], int]:
    """(files of hand-written records as they go wrong in practice, number of those that a reader must reject)."""
    lines = [
        b'{"id": "good", "text": "This record is whole; everything around it went wrong on the way here."}',
        b'{"id": "cut-in-the-middle", "text": "The process that wrote this line was killed bef',
        b'{"id": "no-text", "title": "The text field has another name here"}',
        b'{"id": "null", "text": null}',
        b'{"id": "empty", "text": ""}',
        b'{"id": "blank", "text": " \\n\\t "}',
        b'{"id": "number", "text": 42}',
        b'{"id": "latin-1", "text": "A caf\xe9 in Latin-1"}',
        b'{"id": "half-a-character", "text": "Cut between two halves: \\ud83d"}',
        b'["a list", "is not a record"]',
    ]
    # Three records are flushed to the end of a block, so that they can be read whatever follows; the fourth is cut.
    compressor = zlib.compressobj(wbits=31)
    record = '{{"id": "before-the-cut-{}", "text": "Upload number {} came through before the connection was lost."}}\n'
    data = b"".join(compressor.compress(record.format(i, i).encode()) for i in range(3))
    data += compressor.flush(zlib.Z_FULL_FLUSH) + compressor.compress(record.format(3, 3).encode())
    data += compressor.flush(zlib.Z_SYNC_FLUSH)[:-20]
    return {
        "bad/records.jsonl": b"\n".join(lines) + b"\n",
        "bad/cut.jsonl.gz": data,
        "bad/latin-1.txt": "Ein Text in Latin-1: Käse, Größe, Übermut.\n".encode("latin-1"),
        "bad/blank.txt": b" \n\n",
    }, len(lines) - 1 + 3


def _check(out_dir: Path) -> None:
    if (out_dir / _MARK).exists():
        return
    foreign = [name for name in _OWN if (out_dir / name).exists()]
    if foreign:
        raise RequestError(
            f"{out_dir / foreign[0]} is there already and was not gathered by `curate demo`; name an empty folder"
        )


def _write(out_dir: Path, files: dict[str, bytes]) -> None:
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        # The mark first: what is found without it is the user's and is never touched.
        _put(out_dir / _MARK, _MARK_TEXT.encode())
        keep = {out_dir / path for path in files}
        for name in _OWN:
            place = out_dir / name
            for old in [place, *place.rglob("*")]:
                if old.is_file() and old not in keep:
                    old.unlink()
        for path, data in files.items():
            place = out_dir / path
            if place.is_dir():
                shutil.rmtree(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            _put(place, data)
    except OSError as error:
        raise RequestError(
            f"the demo corpus cannot be written to {out_dir} ({error.strerror or error}); name another folder"
        ) from None


def _put(place: Path, data: bytes) -> None:
    """Write the file, unless it holds just that: its change mark is part of an input's identity."""
    if not place.is_file() or place.read_bytes() != data:
        place.write_bytes(data)
