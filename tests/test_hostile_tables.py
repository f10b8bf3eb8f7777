"""Tables of a workspace that somebody else has written: nothing in them makes compiled code leave its arrays.

Checksums are no defence, since whoever writes a table writes them, too; so they are made right here.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate.base import schemas
from curate.base.columns import int32_matrix
from curate.base.errors import CurateError, WorkspaceError
from curate.base.text import cut_spans
from curate.dedup.contamination import NgramIndex, check_index, ngram_index
from curate.engine.context import TaskContext
from curate.engine.exchange import ExchangeWriter, read_slices
from curate.engine.task import Exchange
from curate.inspect.reader import stored_recipe
from curate.relate.embedders.lexical import LexicalModel, fit
from curate.relate.encoders.quantised import quantise_directions
from curate.relate.neighbors import check_neighbors, renumbered
from curate.relate.super_cells import Cells
from curate.shards.conservation import token_sum, window_sums
from curate.shards.windows import ShardWindows
from curate.stages.dedup.signatures import stored_params
from curate.stages.shards.routing import spans_by_target
from curate.storage.local import file_checksum
from curate.tables.parquet import validate
from curate.tables.snapshot import Snapshot, TableFile, TableRef
from tests import json_files
from tests.corpus import recipe_of, write_corpus
from tests.stages.alone import Workspace

# --- spans of texts


def column(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("rows", "starts", "ends"),
    [
        ([0], [-8], [2]),
        ([0], [2], [1 << 40]),
        ([0], [4], [2]),
        ([0, 0], [0, 3], [4, -1]),  # in sum nothing is cut
        ([2], [0], [1]),
        ([-1], [0], [1]),
        ([1, 0], [0, 0], [1, 1]),
        ([0], [1 << 62], [1 << 62]),
        ([1], [1], [3]),  # half of a character
        ([1], [0], [1]),
        ([0], [], []),
    ],
)
def test_spans_that_leave_their_text_are_refused(rows, starts, ends):
    texts = pa.array(["plain", "über"], pa.large_string())
    with pytest.raises(ValueError, match="span"):
        cut_spans(texts, column(*rows), column(*starts), column(*ends))


def test_spans_with_nulls_are_refused():
    nulls = pa.array([None, 1], pa.int64()).to_numpy(zero_copy_only=False)
    with pytest.raises(ValueError, match="without nulls"):
        cut_spans(pa.array(["one", "two"], pa.large_string()), column(0, 1), nulls, nulls)


@given(
    st.lists(st.text(max_size=12), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(-1, 4), st.integers(-2, 20), st.integers(-2, 20)), max_size=4),
)
def test_any_spans_are_cut_as_they_say_or_refused(texts, spans):
    rows, starts, ends = (column(*some) for some in zip(*spans, strict=True)) if spans else (column(),) * 3
    try:
        found = cut_spans(pa.array(texts, pa.large_string()), rows, starts, ends)
    except ValueError:
        return
    found.validate(full=True)
    left = [bytearray(text.encode()) for text in texts]
    gone = [set() for _ in texts]
    for row, start, end in spans:
        gone[row].update(range(start, end))
    kept = [bytes(byte for i, byte in enumerate(text) if i not in gone[row]) for row, text in enumerate(left)]
    if all(starts[1:][rows[1:] == rows[:-1]] >= starts[:-1][rows[1:] == rows[:-1]]):
        assert [text.encode() for text in found.to_pylist()] == kept


def test_texts_that_are_no_utf8_are_refused():
    half = pa.LargeStringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int64)), pa.py_buffer(b"a\xe4"))
    with pytest.raises(WorkspaceError, match=r"documents/0\.parquet is damaged"):
        validate(pa.table({"text": half}), "documents/0.parquet")


def test_numbers_in_no_dictionary_are_refused(tmp_path):
    wrong = pa.DictionaryArray.from_arrays(pa.array([0, 9], pa.int32()), pa.array(["one"]), safe=False)
    with pytest.raises(WorkspaceError, match=r"documents/0\.parquet is damaged"):
        validate(pa.table({"source": wrong}), "documents/0.parquet")


# --- models


def saved(path: Path, *arrays: np.ndarray) -> Path:
    with path.open("wb") as file:
        for array in arrays:
            np.save(file, array, allow_pickle=False)
    return path


def test_cells_that_do_not_fit_each_other_are_refused(tmp_path):
    centroids, supers, first = np.ones((4, 3), np.int8), np.ones((2, 3), np.int8), np.array([0, 2, 4])
    assert len(Cells.load(saved(tmp_path / "cells", centroids, supers, first)).first) == 3
    for wrong in (
        (centroids.astype(np.float32),),
        (centroids, supers[:, :2].copy(), first),
        (centroids, supers, first[:2]),
        (centroids, supers, np.array([0, 2, 1 << 40])),
        (centroids, supers, np.array([0, 5, 4])),
        (centroids, supers, np.array([-4, 0, 4])),
        (centroids, supers, first.astype(np.float64)),
    ):
        with pytest.raises(ValueError, match=r"cells|int8"):
            Cells.load(saved(tmp_path / "cells", *wrong))


def test_a_lexical_model_of_other_sizes_than_it_says_is_refused(tmp_path):
    model = fit(["some words about the sea", "other words about the land", "words", "sea land"], dim=4)
    model.save(tmp_path / "model")
    body = (tmp_path / "model").read_bytes()[:-16]

    def stored(v: int, dim: int) -> Path:
        changed = body[:16] + struct.pack("<qq", v, dim) + body[32:]
        (tmp_path / "changed").write_bytes(changed + hashlib.blake2b(changed, digest_size=16).digest())
        return tmp_path / "changed"

    n = len(model.hashes)
    assert LexicalModel.load(stored(n, 4)).dim == 4
    for v, dim in ((n, 5), (n, 3), (n + 1, 4), (n - 1, 4), (1, -1), (-1, 4), (n, -4), (1 << 62, 1 << 62), (0, 0)):
        with pytest.raises(WorkspaceError, match="sizes"):
            LexicalModel.load(stored(v, dim))


def test_a_mean_of_other_dimensions_is_refused():
    with pytest.raises(ValueError, match="dimensions"):
        quantise_directions(np.ones((2, 8), np.float32), np.zeros(7))


def test_tables_of_ngrams_that_never_end_or_lead_elsewhere_are_refused():
    index, _ = ngram_index(pa.array(["one two three four"]), 2)
    check_index(index, 1)
    for wrong in (
        NgramIndex(np.maximum(index.keys, np.uint64(1)), index.items),  # no free place: a search would not end
        NgramIndex(index.keys[:15], index.items[:15]),
        NgramIndex(index.keys, index.items[:3]),
        NgramIndex(index.keys, index.items + 1),
        NgramIndex(index.keys, index.items - 1),
        NgramIndex(index.keys.astype(np.int32), index.items),
        NgramIndex(index.keys[:0], index.items[:0]),
    ):
        with pytest.raises(ValueError, match="n-grams"):
            check_index(wrong, 1)


@pytest.mark.parametrize("change", [{"ngram": -5_000}, {"ngram": 1 << 40}, {"bands": 0}, {"rows": 8.0}, {"seed": -1}])
def test_parameters_that_no_signature_has_are_refused(change):
    details = {"minhash": {"ngram": 5, "bands": 14, "rows": 8, "seed": 1}}
    snapshot = Snapshot("signatures", "dedup", "k", "s", (), details=details)
    assert stored_params(snapshot).num_perm == 112
    details["minhash"] |= change
    with pytest.raises(WorkspaceError, match=r"signatures/k/s/_manifest\.json is damaged"):
        stored_params(snapshot)


# --- rows of other rows


@pytest.mark.parametrize("row", [3, -2, 1 << 30])
def test_neighbours_that_are_no_rows_are_refused(row):
    wrong = np.array([[1, -1], [0, row], [0, 1]], np.int32)
    with pytest.raises(ValueError, match="but there are 3 documents"):
        check_neighbors(wrong, 3)
    with pytest.raises(ValueError, match="but there are 3 documents"):
        renumbered(wrong, np.arange(3))


def windows(**changes) -> ShardWindows:
    """Two windows of three segments, five tokens."""
    parts = {
        "size": 4,
        "window": np.arange(2, dtype=np.uint32),
        "tokens": np.arange(5, dtype=np.uint16),
        "token_offsets": column(0, 3, 5),
        "segment_offsets": column(0, 2, 3),
        "doc_ids": np.array([1, 2, 3], np.uint64),
        "copies": np.zeros(3, np.uint16),
        "starts": np.zeros(3, np.uint32),
        "lengths": column(1, 2, 2),
    }
    return ShardWindows(**parts | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": column(1, 2, 3)},
        {"lengths": column(1, -2, 2)},
        {"lengths": column(1 << 62, 1 << 62, 1)},
        {"segment_offsets": column(0, 2, 4)},
        {"segment_offsets": column(0, 9, 3)},
        {"segment_offsets": column(-1, 2, 3)},
        {"segment_offsets": column(0, 3)},
        {"copies": np.zeros(2, np.uint16)},
        {"starts": np.zeros(1, np.uint32)},
    ],
)
def test_segments_that_are_not_those_of_the_tokens_are_not_summed(changes):
    assert window_sums(windows()).shape == (2, 2)
    with pytest.raises(ValueError, match="segments"):
        window_sums(windows(**changes))


@pytest.mark.parametrize(
    ("copies", "offsets"), [([1], [0, 2, 3]), ([1, 1], [0, 2, 4]), ([1, 1], [-1, 2, 3]), ([1, 1], [0, 9, 3])]
)
def test_documents_whose_tokens_are_elsewhere_are_not_summed(copies, offsets):
    tokens = np.arange(3, dtype=np.uint16)
    with pytest.raises(ValueError, match=r"copies|tokens"):
        token_sum(np.array([1, 2], np.uint64), np.array(copies, np.uint16), tokens, column(*offsets))


@pytest.mark.parametrize(("start", "length"), [(0, 4), (3, 1), (4_000_000_000, 1), (1, 4_000_000_000)])
def test_a_span_of_more_tokens_than_a_document_has_is_refused(start, length):
    table = pa.table({"doc_id": pa.array([1, 2], pa.uint64()), "token_ids": pa.array([[7, 8, 9], [1] * 5])})
    wanted = pa.table(
        {
            "window": pa.array([0], pa.uint32()),
            "piece": pa.array([0], pa.uint32()),
            "doc_id": pa.array([1], pa.uint64()),
            "start": pa.array([start], pa.uint32()),
            "length": pa.array([length], pa.uint32()),
        }
    )
    with pytest.raises(ValueError, match="of a document of 3"):
        list(spans_by_target(lambda: table, wanted, column(0)))


# --- the exchange

LISTS = pa.schema([("doc_id", pa.uint64()), ("values", pa.large_list(pa.uint64()))])


def sent(folder: Path) -> tuple[TaskContext, TableFile, Path]:
    """A task, the file of an exchange with two rows for one target, and where it is."""
    task = Workspace(folder).context("map")
    writer = ExchangeWriter(task, Exchange("x", "lists", to="target"), LISTS, 1)
    writer.write(pa.table({"doc_id": [1, 2], "values": [[10, 11], [12, 13, 14]]}, schema=LISTS), column(0, 0))
    file = writer.finish()
    return task, file, folder / file.path


def slice_of(path: Path) -> tuple[bytes, int]:
    """The unpacked slice of a file with one target, and the offset of the index."""
    content = path.read_bytes()
    at = len(content) - 16 - 24
    _, stored, raw = np.frombuffer(content[at : at + 24], np.int64).tolist()
    return pa.Codec("lz4").decompress(content[:stored], decompressed_size=raw).to_pybytes(), at


def put_slice(path: Path, raw: bytes, *, offset: int = 0, size: int | None = None) -> int:
    """Write the file anew around the slice ``raw``; returns its size."""
    packed = pa.Codec("lz4").compress(raw, asbytes=True)
    index = np.array([offset, len(packed), len(raw) if size is None else size], np.int64).tobytes()
    path.write_bytes(packed + index + (1).to_bytes(8, "little") + b"CURATEX2")
    return path.stat().st_size


def resized(task: TaskContext, file: TableFile, size: int) -> TableRef:
    """The exchange, told that its file has so many bytes."""
    return Workspace(Path(task.storage.url)).table("tmp/x", replace(file, bytes=size))


@pytest.mark.parametrize("last", [6, 1 << 40, -1])
def test_lists_of_an_exchange_that_end_elsewhere_are_refused(tmp_path, last):
    task, file, path = sent(tmp_path)
    assert read_slices(task, resized(task, file, file.bytes), 0, LISTS)["values"].to_pylist() == [
        [10, 11],
        [12, 13, 14],
    ]
    raw, _ = slice_of(path)
    offsets = column(0, 2, 5).tobytes()
    assert raw.count(offsets) == 1
    size = put_slice(path, raw.replace(offsets, column(0, 2, last).tobytes()))
    with pytest.raises(WorkspaceError, match=r"map\.slices is damaged"):
        read_slices(task, resized(task, file, size), 0, LISTS)


def test_an_exchange_of_other_rows_is_refused(tmp_path):
    task, file, path = sent(tmp_path)
    schema = pa.schema([("doc_id", pa.uint64()), ("values", pa.large_list(pa.uint32()))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.table({"doc_id": [1], "values": [[1]]}, schema=schema))
    size = put_slice(path, sink.getvalue().to_pybytes())
    with pytest.raises(WorkspaceError, match=r"map\.slices is damaged"):
        read_slices(task, resized(task, file, size), 0, LISTS)


@pytest.mark.parametrize("where", [{"offset": -8}, {"offset": 1 << 40}, {"size": -1}, {"size": 1 << 50}])
def test_a_slice_that_does_not_lie_in_its_file_is_refused(tmp_path, where):
    task, file, path = sent(tmp_path)
    size = put_slice(path, slice_of(path)[0], **where)
    with pytest.raises(WorkspaceError, match=r"slice 0 lies outside"):
        read_slices(task, resized(task, file, size), 0, LISTS)


def test_a_slice_that_is_no_arrow_stream_is_refused(tmp_path):
    task, file, path = sent(tmp_path)
    for raw in (b"no stream at all", slice_of(path)[0][:200]):
        size = put_slice(path, raw)
        with pytest.raises(WorkspaceError, match=r"map\.slices is damaged"):
            read_slices(task, resized(task, file, size), 0, LISTS)


# --- whole workspaces


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a corpus and its run."""
    folder = tmp_path_factory.mktemp("hostile")
    curate.run(recipe_of(write_corpus(folder / "text", 40), folder / "run", synthetic={"share": 0.1}))
    return folder


def doctored(finished: Path, tmp_path: Path, table: str, change) -> Path:
    """A copy of the workspace in which every file of a table is ``change`` of it, with the checksums that it must have."""
    workspace = Path(shutil.copytree(finished, tmp_path / "copy")) / "run"

    def doctor(file: dict) -> None:
        path = workspace / file["path"]
        rows = change(pq.read_table(path))
        pq.write_table(rows, path)
        file |= {"rows": len(rows), "bytes": path.stat().st_size, "checksum": file_checksum(path)}
        if len(rows) and file["first"] is None:
            file |= {"first": rows["doc_id"][0].as_py(), "last": rows["doc_id"][-1].as_py()}

    for manifest in (workspace / table).rglob("_manifest.json"):
        json_files.edit(manifest, lambda content: [doctor(file) for file in content["files"]])
    return workspace


def replaced_column(name: str, make):
    """A change: column ``name`` as ``make`` of its values as NumPy has them."""

    def change(rows: pa.Table) -> pa.Table:
        at = rows.schema.get_field_index(name)
        return rows.set_column(at, rows.schema.field(at), pa.array(make(rows), rows.schema.field(at).type))

    return change


def run_again(workspace: Path) -> str:
    """What a run in the workspace says when it fails; it takes no rows of the former run over."""
    recipe = stored_recipe(str(workspace))
    (workspace / "run.json").rename(workspace / "kept.json")
    with pytest.raises(CurateError) as raised:
        curate.run(recipe)
    (workspace / "kept.json").rename(workspace / "run.json")
    return str(raised.value)


def edits_of(finished: Path, start: int, end: int):
    """A change: one edit of every document, whatever the rows were."""
    documents = [pq.read_table(path, columns=["doc_id"]) for path in (finished / "run/documents").rglob("*.parquet")]
    ids = pa.concat_tables(documents)["doc_id"].combine_chunks().sort()
    n = len(ids)

    def change(rows: pa.Table) -> pa.Table:
        columns = {"start": [start] * n, "end": [end] * n, "reason": ["x"] * n, "replacement": [None] * n}
        return pa.table({"doc_id": ids, **columns}, schema=schemas.EDITS)

    return change


def test_edits_beyond_the_text_stop_the_stage_that_reads_them(finished, tmp_path):
    workspace = doctored(finished, tmp_path, "edits", edits_of(finished, 0, 1 << 40))
    assert "edits/" in (said := run_again(workspace))
    assert "is damaged or was tampered with: the span from byte 0" in said


def test_edits_beyond_the_text_are_no_danger_to_who_looks(finished, tmp_path):
    workspace = doctored(finished, tmp_path, "edits", edits_of(finished, -(1 << 40), 1))
    run = curate.open(str(workspace))
    text = pq.read_table(next(iter(sorted((workspace / "documents").rglob("*.parquet")))))["text"][0].as_py()
    with pytest.raises(WorkspaceError, match=r"edits of .* is damaged"):
        run.lookup(text)


def test_half_a_character_stops_the_stage_that_reads_it(finished, tmp_path):
    def change(rows: pa.Table) -> pa.Table:
        at, sizes = rows.schema.get_field_index("text"), np.arange(len(rows) + 1, dtype=np.int64) * 60
        data = (b"The end of this text is missing, and no word of it: " + b"." * 7 + b"\xf0") * len(rows)
        texts = pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(sizes), pa.py_buffer(data))
        return rows.set_column(at, rows.schema.field(at), texts)

    workspace = doctored(finished, tmp_path, "documents", change)
    said = run_again(workspace)
    assert "documents/" in said
    assert "is damaged or was tampered with" in said
    run = curate.open(str(workspace))
    with pytest.raises(WorkspaceError, match=r"documents/.*\.parquet is damaged"):
        run.rows("documents", pq.read_table(next((workspace / "documents").rglob("*.parquet")))["doc_id"].to_pylist())


def test_neighbours_beyond_their_region_stop_the_planner(finished, tmp_path):
    def far(rows: pa.Table) -> list[bytes]:
        return [row.tobytes() for row in np.full_like(int32_matrix(rows["neighbors"]), 1 << 30)]

    workspace = doctored(finished, tmp_path, "neighbors", replaced_column("neighbors", far))
    said = run_again(workspace)
    assert "neighbors/" in said
    assert "neighbours are rows" in said
    doc_id = pq.read_table(next((workspace / "order").rglob("*.parquet")))["doc_id"][0].as_py()
    with pytest.raises(WorkspaceError, match="neighbours are rows"):
        curate.open(str(workspace)).neighbors(doc_id)


@pytest.mark.parametrize("name", ["start", "length"])
def test_pieces_beyond_their_document_stop_the_shards(finished, tmp_path, name):
    workspace = doctored(
        finished, tmp_path, "windows", replaced_column(name, lambda rows: np.full(len(rows), (1 << 32) - 1, np.uint32))
    )
    said = run_again(workspace)
    assert "is damaged or was tampered with: a window asks for tokens" in said
