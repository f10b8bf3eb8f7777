"""A bounded sample of the kept documents that is evened out over strata: what models of the corpus are fitted on.

A stratum is a source and a language in it; where no language was told, the block of 256 characters that most letters of
the text's beginning are in. Both are known before there are vectors. In a plain sample a source has the share that it has
in the corpus, and a model fitted on it knows nothing of the small ones. Here every stratum gives as much as any other, or
all it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.columns import IDs, column, is_in, one_array, rows_of, rows_with
from curate.base.hashing import document_hash
from curate.engine.context import TaskContext
from curate.engine.sample import DOCUMENT_BYTES, MARGIN, beginnings, is_drawn
from curate.engine.stage import StageRun
from curate.engine.task import PartitionTask
from curate.tables.remaining import kept_texts, left_after
from curate.tables.snapshot import Snapshot, TableRef

UNDETERMINED = "und"
PREFIX = 400
"""Characters of a text by which its block is told."""

_SAMPLE = pa.schema(
    [("doc_id", pa.uint64()), ("hash", pa.uint64()), ("stratum", pa.string()), ("text", pa.large_string())]
)


class Size(NamedTuple):
    """Of a stratum: its kept documents, and the bytes that they could give to a sample."""

    documents: int
    bytes: int


def blocks(texts: pa.LargeStringArray) -> list[str]:
    """The block of 256 code points that most letters of each text's beginning are in, as ``U+04xx``.

    Latin letters of any block count as one block, and so do those of each of Hangul and Chinese characters.
    """
    starts = pc.utf8_slice_codeunits(texts, 0, PREFIX)
    lengths = pc.utf8_length(starts).to_numpy(zero_copy_only=False).astype(np.int64)
    points = np.frombuffer("".join(starts.to_pylist()).encode("utf-32-le"), "<u4").astype(np.int64)
    block = points >> 8
    block[block <= 2] = 0
    block[(block >= 0x34) & (block <= 0x9F)] = 0x4E
    block[(block >= 0xAC) & (block <= 0xD7)] = 0xAC
    folded = points | 0x20
    is_letter = (points >= 0xC0) & (block != 0x20) | (folded >= 0x61) & (folded <= 0x7A)
    document = np.repeat(np.arange(len(texts)), lengths)[is_letter]
    found, number = np.unique(document << 16 | block[is_letter] & 0xFFFF, return_counts=True)
    best = np.zeros(len(texts), np.int64)
    for entry in np.lexsort((-found, number)):  # the last one written is the commonest, then the lowest
        best[found[entry] >> 16] = found[entry] & 0xFFFF
    return [f"U+{b:02X}xx" for b in best.tolist()]


def strata_of(context: TaskContext, task: PartitionTask) -> tuple[IDs, pa.StringArray, NDArray[np.int64]]:
    """(doc_ids, strata, bytes int64[n]) of the documents of a task's partition that deduplication left.

    The task needs the files of ``kept`` and ``signals``; texts are read only where no language was told.
    """
    ids = left_after("dedup", context, task.files)
    signals = context.read(task.files["signals"], ["doc_id", "n_bytes", "language"])  # a run without a model has none
    rows = pa.array(rows_of(ids, column(signals, "doc_id")))
    n_bytes = signals["n_bytes"].take(rows).to_numpy().astype(np.int64)
    language = signals["language"].take(rows).to_pylist() if "language" in signals.column_names else [None] * len(ids)
    missing = np.array([one is None or one == UNDETERMINED for one in language], np.bool_)
    for batch in context.batches(task.documents, ["doc_id", "text"], ids[missing]) if missing.any() else ():
        batch = rows_with(batch, ids[missing])
        if batch.num_rows:
            told = blocks(one_array(batch["text"]))
            for row, block in zip(rows_of(column(batch, "doc_id"), ids).tolist(), told, strict=True):
                language[row] = block
    table = context.read(task.documents, ["doc_id", "source"])
    source = table["source"].take(pa.array(rows_of(ids, column(table, "doc_id")))).to_pylist()
    strata = pa.array([f"{s}/{told}" for s, told in zip(source, language, strict=True)], pa.string())
    return ids, strata, np.minimum(n_bytes, DOCUMENT_BYTES)


@dataclass(frozen=True, kw_only=True)
class StrataTask(PartitionTask):
    """Documents and bytes of every stratum of one partition; a subclass belongs to the stage that counts."""

    grows_with = "kept"

    def work(self, context: TaskContext) -> None:
        _, strata, n_bytes = strata_of(context, self)
        counted = pa.table({"stratum": strata, "bytes": n_bytes}).group_by("stratum")
        rows = counted.aggregate([("bytes", "count"), ("bytes", "sum")]).sort_by("stratum")
        names = ("stratum", "bytes_count", "bytes_sum")
        context.value("strata", [list(row) for row in zip(*(rows[name].to_pylist() for name in names), strict=True)])


def count_strata(run: StageRun, kind: type[StrataTask]) -> dict[str, Size]:
    """The sizes of all strata, by name, as tasks of a kind count them."""
    step = run.step("tmp/strata", [kind(**part.fields) for part in run.partitions("kept", "signals")])
    found: dict[str, Size] = {}
    for name, documents, n_bytes in (row for rows in step.values("strata") for row in rows):
        before = found.get(name, Size(0, 0))
        found[name] = Size(before.documents + documents, before.bytes + n_bytes)
    return dict(sorted(found.items()))


def water_level(sizes: Sequence[int], budget: int) -> int:
    """The most that each stratum may give so that all together give at most ``budget``; small ones give all they have.

    At least 1; the budget itself where everything fits.
    """
    left = budget
    for i, size in enumerate(ordered := sorted(sizes)):
        level = left // (len(ordered) - i)
        if size > level:
            return max(level, 1)
        left -= size
    return max(budget, 1)


def shares(sizes: Mapping[str, int], level: int) -> dict[str, float]:
    """Share of its documents to draw, of the strata that do not give all; larger than needed by :data:`MARGIN`."""
    wanted = level * MARGIN
    return {name: wanted / size for name, size in sizes.items() if size > wanted}


@dataclass(frozen=True, slots=True)
class Drawn:
    """The documents of a partition that are in the sample, with their hashes and strata."""

    ids: IDs
    hashes: NDArray[np.uint64]
    strata: pa.StringArray

    def pick(self, ids: IDs) -> NDArray[np.bool_]:
        """bool[n]: which of the documents are in it."""
        return is_in(ids, self.ids)

    def columns(self, ids: IDs) -> list[pa.Array]:
        """doc_id, hash and stratum of documents that are in it."""
        rows = rows_of(ids, self.ids)
        return [pa.array(ids), pa.array(self.hashes[rows]), self.strata.take(pa.array(rows))]


def draw(
    context: TaskContext, task: PartitionTask, salt: Callable[[IDs], NDArray[np.uint64]], given: Mapping[str, float]
) -> Drawn:
    """The documents of a task's partition whose hashes are among the smallest share that their stratum gives."""
    ids, strata, _ = strata_of(context, task)
    hashes, chosen = salt(ids), np.zeros(len(ids), np.bool_)
    encoded = strata.dictionary_encode()
    codes = encoded.indices.to_numpy()
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        rows = np.flatnonzero(codes == code)
        chosen[rows] = is_drawn(given.get(name, 1.0), hashes[rows])
    rows = np.flatnonzero(chosen)
    return Drawn(ids[rows], hashes[rows], strata.take(pa.array(rows)))


def cut_evenly(
    strata: NDArray[np.int64], hashes: NDArray[np.uint64], ids: IDs, sizes: NDArray[np.int64], level: int, budget: int
) -> NDArray[np.int64]:
    """int64[m], ascending: of each stratum the smallest hashes, ties by doc_id, that add up to ``level``, at least one.

    What is more than ``budget`` in all goes, the largest hashes first, but for one row.

    Args:
        strata: int64[n], numbers of strata.
        hashes, ids: of the documents.
        sizes: int64[n], what each counts.
        level: as :func:`water_level` gives it.
        budget: for all of them.
    """
    order = np.lexsort((ids, hashes, strata))
    upto, ordered = np.cumsum(sizes[order]), strata[order]
    is_first = np.diff(ordered, prepend=-1) != 0
    before = (upto - sizes[order])[is_first]
    order = order[(upto - before[np.cumsum(is_first) - 1] <= level) | is_first]
    order = order[np.lexsort((ids[order], hashes[order]))]
    within = np.cumsum(sizes[order]) <= budget
    return np.sort(order[within if within.any() else np.arange(len(order)) < 1])


@dataclass(frozen=True, kw_only=True)
class EvenSampleTask(PartitionTask):
    """The sampled texts of one partition; a subclass says what the sample is for."""

    grows_with = "kept_bytes"

    seed: int
    purpose: str
    given: Mapping[str, float]

    def work(self, context: TaskContext) -> None:
        def hashes(ids: IDs) -> NDArray[np.uint64]:
            return document_hash(self.seed, f"sample:{self.purpose}", ids)

        drawn = draw(context, self, hashes, self.given)
        texts = kept_texts(context, self.documents, self.files["kept"], drawn.pick)
        rows = (pa.table([*drawn.columns(ids), beginnings(found)], schema=_SAMPLE) for ids, found in texts)
        context.write_parts("tmp/sample", _SAMPLE, rows)


def even_sample(
    run: StageRun, sample_bytes: int, kind: type[EvenSampleTask], counting: type[StrataTask]
) -> tuple[Snapshot, int]:
    """(a snapshot of more kept text than needed, level): :func:`read_even_sample` cuts it exactly."""
    sizes = {name: size.bytes for name, size in count_strata(run, counting).items()}
    level = water_level(list(sizes.values()), sample_bytes)
    given = shares(sizes, level)
    tasks = [
        kind(**part.fields, seed=run.recipe.seed, purpose=run.stage.name, given=given)
        for part in run.partitions("kept", "signals")
    ]
    return run.publish("tmp/sample", run.step("tmp/sample", tasks)), level


def read_even_sample(
    context: TaskContext, sample: TableRef, level: int, sample_bytes: int
) -> tuple[pa.LargeStringArray, NDArray[np.int64]]:
    """(texts, number of the stratum of each int64[n]) in doc_id order, at most ``level`` bytes of a stratum."""
    table = context.read_all([file for file in context.snapshot(sample).files if file.rows], _SAMPLE).sort_by("doc_id")
    sizes = pc.binary_length(table["text"]).to_numpy().astype(np.int64)
    strata = stratum_numbers(table["stratum"])
    rows = cut_evenly(strata, column(table, "hash"), column(table, "doc_id"), sizes, level, sample_bytes)
    return one_array(table["text"].take(pa.array(rows))), strata[rows]


def stratum_numbers(names: pa.ChunkedArray) -> NDArray[np.int64]:
    """int64[n]: a number for each name, in the order of the names."""
    return np.unique(np.array(names.to_pylist(), dtype=np.str_), return_inverse=True)[1].astype(np.int64)
