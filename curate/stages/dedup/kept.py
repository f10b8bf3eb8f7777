"""The dedup stage, last part: the documents left after rules, duplicates and evaluation sets, and how each text is cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base import schemas
from curate.base.columns import IDs, column, is_in
from curate.base.edits import Span, compose
from curate.engine.context import TaskContext
from curate.engine.reuse import read_edits
from curate.engine.stage import Stage, StageRun
from curate.engine.task import Task
from curate.recipe import cuts_paragraphs
from curate.tables.remaining import Reader, contaminated, left_after
from curate.tables.snapshot import TableFile
from curate.tables.validate import reraise_as_damaged

_SPAN = ["doc_id", "start", "end"]


def survivors(reader: Reader, files: Mapping[str, TableFile]) -> IDs:
    """uint64[n], sorted: the documents of a partition that no rule, duplicate or evaluation set removed.

    Args:
        reader: reads the files.
        files: of the partition: ``verdicts``, ``duplicates`` and ``contamination``.
    """
    ids = left_after("quality", reader, files)
    ids = ids[~is_in(ids, column(reader.read(files["duplicates"], ["doc_id"]), "doc_id"))]
    return ids[~is_in(ids, contaminated(reader, files["contamination"]))]


def kept_rows(ids: IDs, edits: pa.Table, cuts: pa.Table) -> pa.Table:
    """Rows of ``kept``: the documents ``ids``, and what is cut from each text.

    Args:
        ids: uint64[n], sorted.
        edits: doc_id, start, end and replacement of spans of the texts, sorted by (doc_id, start), without overlaps.
        cuts: doc_id, start and end of spans of the texts *as edited*; in any order, and they may overlap.

    Spans of other documents are left out.
    """
    edits = edits.select([*_SPAN, "replacement"]).filter(pa.array(is_in(column(edits, "doc_id"), ids)))
    cuts = cuts.filter(pa.array(is_in(column(cuts, "doc_id"), ids)))
    spans = edits
    if cuts.num_rows:
        are_cut = is_in(column(edits, "doc_id"), np.unique(column(cuts, "doc_id")))
        composed = _composed(edits.filter(pa.array(are_cut)), cuts)
        spans = pa.concat_tables([edits.filter(pa.array(~are_cut)), composed])
        spans = spans.take(pa.array(np.argsort(column(spans, "doc_id"), kind="stable")))
    offsets = np.append(np.searchsorted(column(spans, "doc_id"), ids), spans.num_rows)
    structs = pa.StructArray.from_arrays(
        [spans[field.name].combine_chunks() for field in schemas.CUT], fields=list(schemas.CUT)
    )
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs, type=schemas.KEPT.field("cuts").type)
    return pa.table({"doc_id": pa.array(ids), "cuts": lists}, schema=schemas.KEPT)


def _composed(edits: pa.Table, cuts: pa.Table) -> pa.Table:
    """The spans that do at once what ``edits`` and then ``cuts`` do; those of one document after the other."""
    edits_of: defaultdict[int, list[Span]] = defaultdict(list)
    for doc_id, *span in zip(*(edits[name].to_pylist() for name in (*_SPAN, "replacement")), strict=True):
        edits_of[doc_id].append((span[0], span[1], span[2]))
    cuts_of: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for doc_id, start, end in sorted(zip(*(cuts[name].to_pylist() for name in _SPAN), strict=True)):
        cuts_of[doc_id].append((start, end))
    rows = [(doc_id, *span) for doc_id, found in cuts_of.items() for span in compose(edits_of[doc_id], found)]
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(list(map(list, columns)), schema=edits.schema)


def _kept(run: StageRun) -> None:
    cut_paragraphs = cuts_paragraphs(run.recipe)
    tasks = [
        KeptTask(
            name=part.name,
            verdicts=part["verdicts"],
            edits=part["edits"],
            duplicates=part["duplicates"],
            contamination=part["contamination"],
            paragraphs=part["paragraphs"] if cut_paragraphs else None,
        )
        for part in run.partitions("verdicts", "edits", "duplicates", "contamination", "paragraphs")
    ]
    step = run.step("kept", tasks)
    run.commit("kept", step.files("kept"), step.counters)


@dataclass(frozen=True, kw_only=True)
class KeptTask(Task):
    """The documents of one partition that are left, and how their texts are cut."""

    grows_with = "documents"

    verdicts: TableFile
    edits: TableFile
    duplicates: TableFile
    contamination: TableFile
    paragraphs: TableFile | None

    def work(self, context: TaskContext) -> None:
        files = {"verdicts": self.verdicts, "duplicates": self.duplicates, "contamination": self.contamination}
        overlaps = context.read(self.contamination, [*_SPAN, "removed"])
        cuts = overlaps.filter(pc.invert(overlaps["removed"])).select(_SPAN)
        if self.paragraphs is not None:
            cuts = pa.concat_tables([cuts, context.read(self.paragraphs, _SPAN)])
        ids, edits = survivors(context, files), read_edits(context, self.edits)
        with reraise_as_damaged(f"a table of edits or cuts beside {context.place(self.edits)}"):
            rows = kept_rows(ids, edits, cuts)
        context.write("kept", rows)
        context.count_rows("kept", rows)


KEPT = Stage(
    "dedup",
    1,
    ("documents", "verdicts", "edits", "duplicates", "contamination", "paragraphs"),
    ("kept",),
    cuts_paragraphs,
    _kept,
)
