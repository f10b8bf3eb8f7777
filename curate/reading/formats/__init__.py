"""Formats of inputs: one module each, with everything that is known of the format. A file's extension names its reader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from curate.base.errors import InputError
from curate.base.registry import Registry
from curate.reading.records import BATCH_BYTES, DEFAULT_FIELDS, MAX_DOCUMENT_BYTES, Batch, Fields, Span

COMPRESSIONS: dict[str, str] = {".gz": "gzip", ".zst": "zstd"}


class Options(NamedTuple):
    """How a file is read.

    Attributes:
        compression: None, ``gzip`` or ``zstd``.
        batch_bytes: bytes of a batch, about; it changes nothing but where batches end.
        limit: records to read, rejected ones counted; None: all.
        max_document_bytes: longest text in UTF-8 bytes.
        span: the part of the file to read; None: all of it.
        first: records of the file before the span.
    """

    compression: str | None = None
    batch_bytes: int = BATCH_BYTES
    limit: int | None = None
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    span: Span | None = None
    first: int = 0


DEFAULT_OPTIONS = Options()


class Reader(ABC):
    """One format.

    Attributes:
        name: as `curate init` and `check` say it.
        extensions: of its files, in lower case.
        refused: other extensions of the same family, and why files with them are not read.
        not_compressed: why a file may not end in .gz or .zst; empty: it may.
        is_seekable: files are opened for random access.
        has_fields: records have fields, of which the recipe names one for the text.
        expansion: bytes of text in a byte of a file that is not compressed, about.
    """

    name: str
    extensions: tuple[str, ...]
    refused: ClassVar[Mapping[str, str]] = {}
    not_compressed: str = ""
    is_seekable: bool = False
    has_fields: bool = False
    expansion: float = 1.0

    @abstractmethod
    def read(self, file: Any, fields: Fields = DEFAULT_FIELDS, options: Options = DEFAULT_OPTIONS) -> Iterator[Batch]:
        """Batches of the records in ``file``, in its order.

        Args:
            file: binary, open at its beginning, with random access where that is asked for. It is left open.
            fields: which fields hold the text and the id.
            options: how it is read.
        """

    def can_be_cut(self, compression: str | None) -> bool:
        """Whether several tasks can each read a span of a file."""
        return False

    def spans_by_size(self, size: int, span_bytes: int) -> list[Span] | None:
        """Spans of about ``span_bytes`` that follow from the file's size; None: the file must be asked (:meth:`spans`)."""
        return None

    def spans(self, file: Any, span_bytes: int) -> tuple[list[Span], list[int]]:
        """(spans of about ``span_bytes``, records in each), as the file itself says; none where it is damaged."""
        raise NotImplementedError(f"{self.name} files are not cut")

    def count(self, file: Any, span: Span) -> int:
        """Records in a span of :meth:`spans_by_size`."""
        raise NotImplementedError(f"{self.name} files are not cut")

    def field_names(self, file: Any, compression: str | None) -> set[str]:
        """Names of the fields of a file's first records; empty where there are none, or it is damaged."""
        return set()


READERS: Registry[Reader] = Registry(
    "input format", "curate.reading.formats", ("jsonl", "parquet", "text", "html", "warc")
)


class Format(NamedTuple):
    """How a file is read: the name of its reader, and its compression."""

    kind: str
    compression: str | None


def extensions() -> dict[str, Reader]:
    """Every extension and its reader."""
    return {extension: reader for reader in READERS.values() for extension in reader.extensions}


def format_of(path: str) -> Format:
    """The format of the file at ``path`` (a path, a URL or a bare name); case does not matter.

    Raises:
        InputError: the extension is not known; the message lists those that are.
    """
    name = path.rsplit("/", 1)[-1].lower()
    compression = None
    for extension, codec in COMPRESSIONS.items():
        if name.endswith(extension):
            name, compression = name.removesuffix(extension), codec
    for reader in READERS.values():
        for extension, why in reader.refused.items():
            if name.endswith(extension):
                raise InputError(f"{path}: {why}")
    known = extensions()
    found = next((reader for extension, reader in known.items() if name.endswith(extension)), None)
    if found is None:
        plain = [extension for extension, reader in known.items() if reader.not_compressed]
        raise InputError(
            f"{path}: unknown file type; known are {', '.join(known)}; all but {', '.join(plain)} may end in .gz or .zst"
        )
    if found.not_compressed and compression is not None:
        raise InputError(f"{path}: {found.not_compressed}")
    return Format(found.name, compression)


def reader_of(path: str) -> Reader:
    """The reader of the file at ``path``.

    Raises:
        InputError: the extension is not known.
    """
    return READERS.get(format_of(path).kind)


def is_hidden(path: str) -> bool:
    """Whether a file or one of its folders has a name that begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def is_known(path: str) -> bool:
    """Whether a file found in a folder is an input: of a known type, and neither hidden nor in a hidden folder."""
    if is_hidden(path):
        return False
    try:
        format_of(path)
    except InputError:
        return False
    return True


def read(file: Any, path: str, fields: Fields = DEFAULT_FIELDS, **options: Any) -> Iterator[Batch]:
    """Batches of the records in ``file``, by the reader that ``path`` names.

    Args:
        file: binary, open at its beginning; for Parquet with random access. It is left open.
        path: where the file came from; only its extension matters.
        fields: which fields hold the text and the id.
        options: of :class:`Options`, but for the compression.

    Raises:
        InputError: the extension is not known.
    """
    kind, compression = format_of(path)
    return READERS.get(kind).read(file, fields, Options(compression, **options))


def can_be_cut(path: str, size: int, span_bytes: int) -> bool:
    """Whether a file of ``size`` bytes is read in several spans of about ``span_bytes``."""
    kind, compression = format_of(path)
    return size >= 2 * span_bytes and READERS.get(kind).can_be_cut(compression)
