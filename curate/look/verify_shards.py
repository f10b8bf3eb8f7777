"""Conservation, proved from the shards: every token of every document exactly as often as it has copies.

Each format that was written is read back. Its windows must be those of the plan, and the additive 128-bit sum over
(doc_id, copy, offset, token) of all its segments must be that of the ``tokens`` and ``copies`` tables
(:mod:`curate.shards.conservation`). A difference is traced to the documents that cause it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.look.verify_tables import read
from curate.look.verify_windows import read_windows
from curate.packing.sets import set_prefix
from curate.run.exchange import partition_targets
from curate.run.generations import parts_of
from curate.run.partition import flat_tokens
from curate.run.snapshot import TableFile
from curate.shards import denoised, mds, megatron, memmap, parquet, webdataset
from curate.shards.conservation import add_sums, from_hex, hex_sum, token_sum, window_sums
from curate.shards.denoise import Mixture
from curate.shards.windows import ShardWindows, concatenate, windows_of_plan

if TYPE_CHECKING:
    from curate.look.run import Run
    from curate.look.verify import Report

Sums = NDArray[np.uint64]

_SHARD = re.compile(r"(set-(?P<set>\d+)[-/])?(\w+/)?shard[-.](?P<shard>\d+)$")

_NAMED = 5
"""Documents, windows and partitions that one difference names."""


def check_shards(run: Run, report: Report) -> None:
    """Read every format back and compare it with the plan and with the documents."""
    wanted, tokens = expected_sums(run)
    report.count("shards", "tokens of documents, copies counted", tokens)
    made = [from_hex(part["conservation"]) for part in parts_of(run.snapshots["shards"])]
    stated = hex_sum(add_sums(np.array(made)))
    if stated != hex_sum(add_sums(wanted)):
        report.fault("shards", "index.json", f"states the sum {stated}, the documents have {hex_sum(add_sums(wanted))}")
    for form in run.snapshots["shards"].details["formats"]:
        found = np.zeros_like(wanted)
        counts = {"windows": 0, "tokens": 0, "padding": 0}
        try:
            for plan, windows in READERS[form](run, report):
                counts["windows"] += len(windows)
                counts["tokens"] += len(windows.tokens)
                counts["padding"] += len(windows) * size_of(run, plan) - len(windows.tokens)
                _compare(run, report, f"{form}, {plan.name}", windows, plan)
                _add(found, segment_sums(windows), partition_targets(windows.doc_ids, run.snapshots["documents"]))
        except (ValueError, OSError, KeyError, IndexError, pa.ArrowException) as error:
            report.fault("shards", form, f"cannot be read back: {error}")
            continue
        for name, number in counts.items():
            report.count("shards", f"{name} in {form}", number)
        _check_counts(run, report, form, counts)
        bad = np.flatnonzero((found != wanted).any(axis=1))
        for partition in bad[:_NAMED]:
            _trace(run, report, form, int(partition))


def _check_counts(run: Run, report: Report, form: str, counts: dict[str, int]) -> None:
    """Nothing but document tokens, counted special tokens and counted padding."""
    counted = run.snapshots["windows"].counters
    planned = {
        "windows": counted.get("windows", 0),
        "tokens": counted.get("tokens", 0) + counted.get("special_tokens", 0),
        "padding": counted.get("padding", 0),
    }
    for name, number in counts.items():
        if number != planned[name]:
            report.fault("shards", form, f"holds {number:,} {name}, the plan counted {planned[name]:,}")


# --- the documents' side


def expected_sums(run: Run) -> tuple[Sums, int]:
    """(uint64[partitions, 2], tokens): the sum that the shards must hold of each partition's documents."""
    documents = run.snapshots["documents"].files
    out = np.zeros((len(documents), 2), np.uint64)
    tokens = 0
    for number, _ in enumerate(documents):
        for ids, copies, flat, offsets in documents_of(run, number):
            with np.errstate(over="ignore"):
                out[number] += token_sum(ids, copies, flat, offsets, **_control(run))
            tokens += int((np.diff(offsets) * copies).sum())
    return out, tokens


def documents_of(
    run: Run, partition: int
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint16], Any, NDArray[np.int64]]]:
    """(doc_ids, copies, tokens, offsets) of the documents with copies in a partition, and of the synthetic examples
    made of them, one row group at a time."""
    name = run.snapshots["documents"].files[partition].name
    drawn = read(run, run.snapshots["copies"].named()[name], ["doc_id", "copies"])
    pool, times = drawn["doc_id"].to_numpy(), drawn["copies"].to_numpy()
    with run.open(run.snapshots["tokens"].named()[name]) as source:
        file = pq.ParquetFile(source)
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=["doc_id", "token_ids"])
            ids = rows["doc_id"].to_numpy()
            flat, offsets = flat_tokens(rows)
            at = np.minimum(np.searchsorted(pool, ids), max(len(pool) - 1, 0))
            copies = (
                np.where(pool[at] == ids, times[at], 0).astype(np.uint16)
                if len(pool)
                else np.zeros(len(ids), np.uint16)
            )
            yield ids, copies, flat, offsets
    if not run.recipe.synthetic.share:
        return
    with run.open(run.snapshots["synthetic"].named()[name]) as source:
        file = pq.ParquetFile(source)
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=["doc_id", "token_ids"])
            yield rows["doc_id"].to_numpy(), np.ones(rows.num_rows, np.uint16), *flat_tokens(rows)


def _control(run: Run) -> dict[str, int]:
    """The tokens that begin and end documents, as :func:`token_sum` takes them."""
    windows, found = run.snapshots["windows"].details, {}
    end = run.snapshots["tokens"].details["eos_id"]
    if windows["eos"] and end is not None:
        found["end"] = int(end)
    if "bos_id" in windows:
        found["begin"] = int(windows["bos_id"])
    return found


# --- the shards' side


def segment_sums(windows: ShardWindows) -> Sums:
    """uint64[S, 2]: the sum of every segment."""
    alone = np.arange(len(windows.lengths) + 1, dtype=np.int64)
    return window_sums(replace(windows, window=np.zeros(len(windows.lengths), np.uint32), segment_offsets=alone))


def _add(total: Sums, sums: Sums, targets: NDArray[np.int64]) -> None:
    with np.errstate(over="ignore"):
        np.add.at(total, targets, sums)


def plan_of(run: Run, file: TableFile) -> ShardWindows:
    """The windows of one shard as planned, without tokens."""
    columns = read_windows(run, file)
    named = {name: columns[name] for name in ("window", "kind", "doc_id", "copy", "start", "length")}
    begins = "bos_id" in run.snapshots["windows"].details
    return windows_of_plan(size_of(run, file), **named, tokens=np.zeros(0, np.uint16), begins=begins)


def shard_key(name: str) -> tuple[int, int]:
    """(set, shard) of the plan of a shard (``set-1-shard-00003``) or of one of its files (``set-1/mds/shard.00003``)."""
    found = _SHARD.search(name)
    if found is None:
        raise ValueError(f"{name} is no file of a shard")
    return int(found["set"] or 0), int(found["shard"])


def size_of(run: Run, plan: TableFile) -> int:
    """Tokens of the windows of a shard."""
    number = shard_key(plan.name)[0]
    return int(parts_of(run.snapshots["windows"])[0]["sets"][number]["window"])


def _compare(run: Run, report: Report, where: str, found: ShardWindows, file: TableFile) -> None:
    """Windows of a shard against its plan; the first difference is named."""
    plan = plan_of(run, file)
    if len(found) != len(plan):
        report.fault("shards", where, f"holds {len(found):,} windows, the plan has {len(plan):,}")
        return
    wrong = np.flatnonzero(
        (np.diff(found.token_offsets) != np.diff(plan.token_offsets)) | (found.window != plan.window)
    )
    for w in wrong[:_NAMED]:
        report.fault(
            "shards",
            f"{where}, window {plan.window[w]}",
            f"holds {found.n_tokens[w]:,} tokens, the plan has {plan.n_tokens[w]:,}",
        )
    if len(wrong) or len(found.lengths) != len(plan.lengths):
        return
    for name in ("doc_ids", "copies", "starts", "lengths"):
        differ = np.flatnonzero(getattr(found, name) != getattr(plan, name))
        if len(differ):
            w = int(np.searchsorted(plan.segment_offsets, differ[0], side="right")) - 1
            have, want = getattr(found, name)[differ[0]], getattr(plan, name)[differ[0]]
            report.fault(
                "shards",
                f"{where}, window {plan.window[w]}",
                f"{name} of segment {differ[0] - plan.segment_offsets[w]}: {have}, the plan has {want}",
            )
            return


@contextmanager
def _local(run: Run, file: TableFile) -> Iterator[str]:
    """A local path with the content of a file."""
    root = getattr(run.storage, "root", None)
    if root is not None:
        yield str(Path(root) / file.path)
        return
    with tempfile.NamedTemporaryFile(prefix="curate-verify-", suffix=Path(file.path).suffix) as copy:
        with run.open(file) as source:
            while piece := source.read(1 << 24):
                copy.write(piece)
        copy.flush()
        yield copy.name


def _of(run: Run, suffix: str, folder: str = "") -> list[TableFile]:
    """Files of a format."""
    return [
        file for file in run.snapshots["shards"].files if file.path.endswith(suffix) and f"{folder}/" in f"/{file.name}"
    ]


def _per_shard(
    run: Run, report: Report, suffix: str, read_one: Callable[[str, int], Iterator[ShardWindows]], folder: str = ""
) -> Iterator[tuple[TableFile, ShardWindows]]:
    files = {shard_key(file.name): file for file in _of(run, suffix, folder)}
    plans = {shard_key(file.name): file for file in run.snapshots["windows"].files}
    if files.keys() != plans.keys():
        report.fault("shards", suffix, f"there are {len(files)} files for {len(plans)} shards")
        return
    for key, plan in sorted(plans.items()):
        with _local(run, files[key]) as path:
            parts = list(read_one(path, size_of(run, plan)))
        if parts:
            yield plan, concatenate(parts)
        elif plan.rows:
            report.fault("shards", files[key].path, "holds no windows, although the plan has some")


def _read_parquet(run: Run, report: Report) -> Iterator[tuple[TableFile, ShardWindows]]:
    yield from _per_shard(run, report, ".parquet", lambda path, size: parquet.read(path), "/parquet")


def _read_denoised(run: Run, report: Report) -> Iterator[tuple[TableFile, ShardWindows]]:
    """The windows before denoising."""
    length = run.snapshots["shards"].details["denoise"]["length"]
    mixture = Mixture.above(int(run.snapshots["tokens"].details["vocab_size"]), length)
    kind = _token_type(run)
    yield from _per_shard(run, report, ".parquet", lambda path, size: denoised.read(path, mixture, kind), "/denoised")


def _read_mds(run: Run, report: Report) -> Iterator[tuple[TableFile, ShardWindows]]:
    yield from _per_shard(run, report, ".mds", mds.read)


def _read_webdataset(run: Run, report: Report) -> Iterator[tuple[TableFile, ShardWindows]]:
    yield from _per_shard(run, report, ".tar", webdataset.read)


def _read_numpy(run: Run, report: Report) -> Iterator[tuple[TableFile, ShardWindows]]:
    """Token files, each with its index."""
    indexes = {shard_key(file.name): file for file in _of(run, ".npz")}
    kind, pad = _token_type(run), run.snapshots["tokens"].details["eos_id"] or 0
    if indexes.keys() != {shard_key(file.name) for file in _of(run, ".npy")}:
        report.fault("shards", "numpy", f"there are {len(_of(run, '.npy'))} .npy and {len(indexes)} .npz files")
        return
    of_shard = iter(sorted(indexes))

    def read_one(path: str, size: int) -> Iterator[ShardWindows]:
        with _local(run, indexes[next(of_shard)]) as index:
            yield from memmap.read(path, index, kind, pad)

    yield from _per_shard(run, report, ".npy", read_one)


def _token_type(run: Run) -> np.dtype[Any]:
    return np.dtype(np.uint16 if int(run.snapshots["tokens"].details["vocab_size"]) <= 65_536 else np.uint32)


def _read_megatron(run: Run, report: Report) -> Iterator[tuple[TableFile, ShardWindows]]:
    """Megatron's one file a set and generation, cut into shards."""
    bins, indexes = ({file.name: file for file in _of(run, suffix)} for suffix in (".bin", ".idx"))
    if bins.keys() != indexes.keys():
        report.fault("shards", "megatron", f"there are {len(bins)} .bin and {len(indexes)} .idx files")
        return
    plans = {shard_key(file.name): file for file in run.snapshots["windows"].files}
    for generation, part in enumerate(parts_of(run.snapshots["windows"])):
        for entry in part["sets"]:
            folder = f"generation-{generation:04d}/" if generation else ""
            name = f"{folder}{set_prefix(entry, part['sets'], '/')}megatron/tokens"
            if name not in bins:
                report.fault("shards", name, "is missing")
                return
            shards = range(entry["first"], entry["first"] + entry["shards"])
            mine = [plans[entry["set"], shard] for shard in shards]
            yield from _read_tokens(run, report, bins[name], indexes[name], mine, entry["window"])


def _read_tokens(
    run: Run, report: Report, tokens: TableFile, index: TableFile, plans: list[TableFile], size: int
) -> Iterator[tuple[TableFile, ShardWindows]]:
    """The shards of one pair of .bin and .idx; they hold tokens alone, so places are taken from the plan."""
    kind = _token_type(run)
    pad = run.snapshots["tokens"].details["eos_id"] or 0
    stored = 2 if kind == np.uint16 else 4
    total = 0
    with _local(run, tokens) as path:
        blocks = megatron.read(path, size, kind)
        held: NDArray[Any] = np.zeros((0, size), kind)
        for file in plans:
            plan = plan_of(run, file)
            total += len(plan)
            while len(held) < len(plan):
                following = next(blocks, None)
                if following is None:
                    report.fault("shards", tokens.path, f"ends in {file.name}")
                    return
                held = np.concatenate([held, following])
            rows, held = held[: len(plan)], held[len(plan) :]
            filled = np.arange(size) < plan.n_tokens[:, None]
            for w in np.flatnonzero((~filled & (rows != pad)).any(axis=1))[:_NAMED]:
                report.fault("shards", f"megatron, {file.name}, window {w}", f"is padded with other tokens than {pad}")
            if len(plan):
                yield file, replace(plan, tokens=np.ascontiguousarray(rows[filled]))
        if len(held) or next(blocks, None) is not None:
            report.fault("shards", tokens.path, "holds windows behind the last one of the plan")
    with _local(run, index) as path:
        _, lengths, pointers, _ = megatron.read_index(path)
    if (
        len(lengths) != total
        or (lengths != size).any()
        or (pointers != np.arange(total, dtype=np.int64) * size * stored).any()
    ):
        report.fault("shards", index.path, f"does not describe {total:,} windows of {size:,} tokens")


READERS: dict[str, Callable[[Run, Report], Iterator[tuple[TableFile, ShardWindows]]]] = {
    "parquet": _read_parquet,
    "denoised": _read_denoised,
    "mds": _read_mds,
    "megatron": _read_megatron,
    "numpy": _read_numpy,
    "webdataset": _read_webdataset,
}


# --- where they differ


def _trace(run: Run, report: Report, form: str, partition: int) -> None:
    """Name the documents of a partition whose tokens in the shards are not theirs."""
    ids, wanted = [], []
    for some, copies, flat, offsets in documents_of(run, partition):
        for i in np.flatnonzero(copies > 0):
            ids.append(some[i])
            wanted.append(token_sum(some[i : i + 1], copies[i : i + 1], flat, offsets[i : i + 2], **_control(run)))
    known = np.array(ids, np.uint64)
    expected = np.array(wanted, np.uint64).reshape(-1, 2)
    found = np.zeros_like(expected)
    named = 0
    for plan, windows in READERS[form](run, type(report)(report.workspace)):
        mine = partition_targets(windows.doc_ids, run.snapshots["documents"]) == partition
        at = np.minimum(np.searchsorted(known, windows.doc_ids), max(len(known) - 1, 0))
        is_known = mine & (known[at] == windows.doc_ids) if len(known) else np.zeros(len(mine), np.bool_)
        for row in np.flatnonzero(mine & ~is_known)[: _NAMED - named]:
            named += 1
            report.fault(
                "shards",
                f"{form}, {plan.name}, document {windows.doc_ids[row]}",
                "has tokens in the shards, but no copies",
            )
        _add(found, segment_sums(windows)[is_known], at[is_known])
    for i in np.flatnonzero((found != expected).any(axis=1))[: max(_NAMED - named, 1)]:
        report.fault(
            "shards",
            f"{form}, document {known[i]}",
            "its tokens are not in the shards exactly as often as it has copies",
        )
