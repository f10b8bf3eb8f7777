"""A look at groups of files: what the beginnings of some of them tell about all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base.amounts import size
from curate.base.errors import InputError, RequestError
from curate.base.hashing import text_hashes
from curate.engine.heads import chosen, read_heads
from curate.engine.inputs import field_names
from curate.quality.kinds import CODE_EXTENSIONS, MOST_TEXTS, Guess, Origin, guess
from curate.quality.language import find_model, language_model
from curate.reading import formats
from curate.reading.records import MISSING_TEXT, Batch, Fields
from curate.reading.units import InputFile
from curate.storage.interface import StorageOptions
from curate.tools.groups import MOST_LISTED, Group, ending, unique_name

TEXT_FIELDS = "text content body raw_content article document markdown story transcript abstract".split()
"""Names under which corpora keep their text, most usual first."""

ID_FIELDS = ("id", "doc_id", "document_id", "uuid", "url", "uri", "key", "isbn", "path")
"""Names under which they keep an identity."""

_PATH_FIELDS = ("path", "max_stars_repo_path", "file_path", "filename", "file_name")
_URL_FIELDS = ("url", "uri", "source_url", "warc_target_uri")

QUANTILES = (0.05, 0.5, 0.95)
"""Shares of the texts, from the shortest, whose length is said."""

LANGUAGES = 4
"""Languages that are named."""

MOST_RECORDS = 2_000
"""Texts whose language is looked at."""

MOST_RECORDS_OF_A_FILE = 100
"""Records of each part of a file whose metadata is looked at."""


class Looked(NamedTuple):
    """A group after a look at it.

    Attributes:
        group: its files.
        text_field: the field that holds the text; None where the format has none.
        id_field: the field that holds an id, if one does.
        without_text: files that were looked at and have no such field.
        looked: files that were looked at.
        documents: their documents.
        rejects: their records that cannot be read, by reason.
        copies: documents that are exact copies of others.
        chars: lengths of their texts, in characters.
        languages: shares of the languages in a sample; empty without a model.
        guess: the kind of text.
    """

    group: Group
    text_field: str | None
    id_field: str | None
    without_text: int
    looked: int
    documents: int
    rejects: dict[str, int]
    copies: int
    chars: list[int]
    languages: dict[str, float]
    guess: Guess

    @property
    def files(self) -> str:
        """Number, formats and size of the files, and the fields that are read."""
        own = self.group.files
        kinds = "/".join(sorted({formats.format_of(file.url).kind for file in own}))
        fields = f", text in `{self.text_field}`" if self.text_field else ""
        fields += f", id in `{self.id_field}`" if self.id_field else ""
        amount = size(sum(file.size for file in own))
        return f"{len(own):,} {kinds} file{'' if len(own) == 1 else 's'}, {amount}{fields}"

    @property
    def notes(self) -> list[str]:
        """What was seen, in lines."""
        if not self.documents:
            return [f"no document was found at the beginning of {_files(self.looked)}"]
        few, half, most = self.chars
        languages = ", ".join(f"{code} {part:.0%}" for code, part in [*self.languages.items()][:LANGUAGES])
        rest = len(self.languages) - LANGUAGES
        lines = [
            f"seen: {self.documents:,} documents of {_files(self.looked)}; characters: {half:,} in the middle, "
            f"{few:,} to {most:,} for nine of ten"
            + (f"; languages: {languages}" + (f", {rest} more" if rest > 0 else "") if languages else "")
        ]
        if self.copies:
            lines.append(f"{self.copies:,} of them are exact copies of others")
        if self.rejects:
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in self.rejects.items())
            lines.append(f"records that cannot be read: {reasons}")
        if self.without_text:
            lines.append(f"{self.without_text:,} of {self.looked:,} files have no field `{self.text_field}`")
        lines.append(f"kind {self.guess.kind}: {self.guess.why}")
        return lines


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"


def look(group: Group, most_files: int, options: StorageOptions, taken: set[str]) -> list[Looked]:
    """What the heads of at most ``most_files`` files of a group tell; a few files that keep their text in several fields
    are several sources. ``taken`` are the names that other sources have.

    Raises:
        InputError: one of these files has no field that looks like text.
    """
    files = chosen(group.files, most_files)
    if not any(formats.reader_of(file.url).has_fields for file in files):
        return [_looked(group, None, None, 0, files, options)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(partial(field_names, options=options), files))
    text_fields = [_pick(one, TEXT_FIELDS) if one else None for one in names]
    counted = Counter(one for one in text_fields if one is not None)
    if not counted:
        if not any(names):
            raise InputError(f"{group.paths[0]}: no whole record is at the beginning of {files[0].path}")
        raise InputError(
            f"{group.paths[0]}: no field of {files[0].path} is called {', '.join(TEXT_FIELDS[:4])} or the like; fields there: "
            f"{', '.join(sorted(names[0])[:20])}. Write a recipe with `text_field:` naming the one that holds the text"
        )
    ranked = sorted(counted, key=lambda name: (-counted[name], _rank(name)))
    if len(ranked) > 1 and len(files) == len(group.files) <= MOST_LISTED:
        parts = {name: [f for f, own in zip(files, text_fields, strict=True) if own == name] for name in ranked}
        groups = [_part(group, name, own, taken) for name, own in parts.items()]
        ids = _id_field(names)
        return [_looked(one, name, ids, 0, one.files, options) for one, name in zip(groups, parts, strict=True)]
    without = sum(one != ranked[0] for one in text_fields)
    return [_looked(group, ranked[0], _id_field(names), without, files, options)]


def _part(group: Group, text_field: str, files: list[InputFile], taken: set[str]) -> Group:
    """The files of a group that have their text in a field, as a source of its own."""
    name = unique_name(f"{group.source}-{text_field}", taken)
    taken.add(name)
    return Group(name, tuple(file.url for file in files), files)


def _pick(fields: Iterable[str], wanted: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in sorted(fields, reverse=True)}
    return next((lower[name] for name in wanted if name in lower), None)


def _rank(name: str) -> int:
    return TEXT_FIELDS.index(name.lower())


def _id_field(names: Sequence[set[str]]) -> str | None:
    """The field of most files that looks like an id."""
    found = Counter(name for one in names if (name := _pick(one, ID_FIELDS)))
    return min(found, key=lambda name: (-found[name], name), default=None)


def _looked(
    group: Group,
    text_field: str | None,
    id_field: str | None,
    without_text: int,
    files: list[InputFile],
    options: StorageOptions,
) -> Looked:
    heads = read_heads(files, Fields(text_field or "text", id_field or "id"), options)
    batches = [batch for head in heads for batch in head.batches]
    texts = pa.concat_arrays([pa.array([], pa.large_string()), *(batch.texts for batch in batches)])
    chars = np.sort(pc.utf8_length(texts).to_numpy())
    rejects = Counter(reject.reason for batch in batches for reject in batch.rejects)
    if without_text:
        del rejects[MISSING_TEXT]  # said of the files
    spread = np.unique(np.linspace(0, max(len(texts) - 1, 0), MOST_RECORDS).astype(np.int64))[: len(texts)]
    sample = texts.take(pa.array(spread))
    return Looked(
        group=group,
        text_field=text_field,
        id_field=id_field,
        without_text=without_text,
        looked=len(files),
        documents=len(texts),
        rejects=dict(rejects.most_common()),
        copies=len(texts) - len(set(text_hashes(texts))),
        chars=[int(chars[min(len(chars) - 1, int(part * len(chars)))]) for part in QUANTILES] if len(chars) else [],
        languages=_languages(sample),
        guess=guess(_some(sample), _origin(formats.format_of(files[0].url).kind, batches)),
    )


def _some(texts: pa.LargeStringArray) -> list[str]:
    """Texts from all over a sample, as many as are guessed from."""
    step = max(1, len(texts) // MOST_TEXTS)
    return [text.as_py() for text in texts[::step]]


def _languages(texts: pa.LargeStringArray) -> dict[str, float]:
    """Shares of the languages, the most frequent first; nothing without a model."""
    try:
        model = language_model(str(find_model(None)))
    except RequestError:
        return {}
    codes = model.identify(texts).languages.to_pylist()
    return {code: number / len(texts) for code, number in Counter(codes).most_common()}


def _origin(kind: str, batches: Sequence[Batch]) -> Origin:
    """What ids and metadata of the first records of each file tell."""
    urls = code = records = 0
    for batch in batches:
        for own_id, meta in [*zip(batch.ids, batch.metas, strict=True)][:MOST_RECORDS_OF_A_FILE]:
            fields = json.loads(meta) if meta else {}
            urls += any(
                str(value).startswith(("http://", "https://")) for value in (own_id, *_values(fields, _URL_FIELDS))
            )
            code += any(ending(str(value)) in CODE_EXTENSIONS for value in (own_id, *_values(fields, _PATH_FIELDS)))
            records += 1
    return Origin(kind, urls / max(records, 1), code / max(records, 1))


def _values(fields: dict[str, object], names: Sequence[str]) -> list[object]:
    lower = {name.lower().replace("-", "_"): value for name, value in fields.items()}
    return [lower[name] for name in names if name in lower]
