"""A bounded sample of the kept texts, by hash of doc_id: what a tokenizer is trained on. See also strata.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.base.columns import IDs, column
from curate.base.hashing import document_hash
from curate.base.text import text_buffers
from curate.engine.context import TaskContext
from curate.engine.stage import StageRun
from curate.engine.task import PartitionTask
from curate.tables.remaining import kept_texts
from curate.tables.snapshot import Snapshot, TableRef

DOCUMENT_BYTES = 1_000_000
"""A sampled document contributes at most this much of its beginning."""

MARGIN = 1.5
"""The expected sample is this much larger than asked for, so that the exact cut by hash rarely runs short."""

_SAMPLE = pa.schema([("doc_id", pa.uint64()), ("hash", pa.uint64()), ("text", pa.large_string())])


def sample_size(run: StageRun, sample_bytes: int) -> int:
    """Bytes of kept text that a sample of at most ``sample_bytes`` could hold now."""
    return min(sample_bytes, run.tables["verdicts"].counters.get("kept_bytes", 0))


def sample_texts(run: StageRun, sample_bytes: int, kind: type[SampleTask]) -> Snapshot:
    """A snapshot of about ``sample_bytes × 1.5`` of kept text; :func:`read_sample` cuts it exactly."""
    kept = run.tables["verdicts"].counters.get("kept_bytes", 0)
    share = 1.0 if kept <= sample_bytes * MARGIN else sample_bytes * MARGIN / kept
    tasks = [
        kind(**part.fields, seed=run.recipe.seed, purpose=run.stage.name, share=share)
        for part in run.partitions("kept")
    ]
    return run.publish("tmp/sample", run.step("tmp/sample", tasks))


def is_drawn(share: float, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """bool[n]: which hashes are among the smallest ``share`` of all; 1: each is."""
    limit = int(share * 2.0**64)
    return np.ones(len(hashes), np.bool_) if limit >= 2**64 else hashes < np.uint64(limit)


@dataclass(frozen=True, kw_only=True)
class SampleTask(PartitionTask):
    """The sampled texts of one partition; a subclass says what the sample is for."""

    grows_with = "kept_bytes"

    seed: int
    purpose: str
    share: float

    def work(self, context: TaskContext) -> None:
        def hashes(ids: IDs) -> NDArray[np.uint64]:
            return document_hash(self.seed, f"sample:{self.purpose}", ids)

        drawn = kept_texts(context, self.documents, self.files["kept"], lambda ids: is_drawn(self.share, hashes(ids)))
        rows = (pa.table([ids, hashes(ids), beginnings(texts)], schema=_SAMPLE) for ids, texts in drawn)
        context.write_parts("tmp/sample", _SAMPLE, rows)


def beginnings(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """The texts, those longer than :data:`DOCUMENT_BYTES` cut."""
    _, offsets = text_buffers(texts)
    if len(texts) == 0 or int(np.diff(offsets).max()) <= DOCUMENT_BYTES:
        return texts
    # Characters are at most four bytes: cutting by characters keeps the text valid.
    return pc.utf8_slice_codeunits(texts, 0, DOCUMENT_BYTES // 4).cast(pa.large_string())


def read_sample(context: TaskContext, sample: TableRef, sample_bytes: int) -> pa.LargeStringArray:
    """The sampled texts in doc_id order: the smallest hashes whose texts add up to ``sample_bytes`` (at least one)."""
    parts = [context.read(file) for file in context.snapshot(sample).files if file.rows]
    if not parts:
        return pa.array([], pa.large_string())
    table = pa.concat_tables(parts)
    order = np.lexsort((column(table, "doc_id"), column(table, "hash")))
    sizes = pc.binary_length(table["text"]).to_numpy()[order]
    number = max(1, int(np.searchsorted(np.cumsum(sizes), sample_bytes, side="right")))
    taken = np.sort(order[:number])
    picked = table.take(pa.array(taken)).sort_by("doc_id")["text"].combine_chunks()
    return picked.chunk(0) if isinstance(picked, pa.ChunkedArray) else picked
