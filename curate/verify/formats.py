"""Each format of the shards, read back: what is in the files, beside what the plan says must be there."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.base.catalog import DENOISED, generation_folder
from curate.inspect.reader import RunReader
from curate.packing.sets import set_prefix
from curate.shards import mds, megatron, memmap, parquet, webdataset
from curate.shards.denoise import Mixture
from curate.shards.denoised import denoised_token_type, layout, restored
from curate.shards.windows import ShardWindows, concatenate, token_type, windows_of_plan
from curate.storage.local import LocalStorage
from curate.tables.generations import parts_of
from curate.tables.snapshot import TableFile
from curate.verify.findings import Report
from curate.verify.windows import read_windows

_SHARD = re.compile(r"(set-(?P<set>\d+)[-/])?(\w+/)*shard[-.](?P<shard>\d+)$")

NAMED = 5
"""Documents, windows and partitions that one difference names."""


def plan_of(run: RunReader, file: TableFile) -> ShardWindows:
    """The windows of one shard as planned, without tokens."""
    columns = read_windows(run, file)
    named = {name: columns[name] for name in ("window", "kind", "doc_id", "copy", "start", "length")}
    begins = "bos_id" in run.snapshots["windows"].details
    return windows_of_plan(size_of(run, file), **named, tokens=np.zeros(0, np.uint16), begins=begins)


def _mixture(run: RunReader) -> Mixture:
    details = run.snapshots["shards"].details
    return Mixture.above(int(run.snapshots["tokens"].details["vocab_size"]), details["denoise"]["length"])


def expected_windows(run: RunReader, file: TableFile, denoised: bool) -> ShardWindows:
    """As :func:`plan_of`, after denoising where that is asked for."""
    plan = plan_of(run, file)
    return layout(plan, shard_key(file.name)[1], _mixture(run), run.recipe.seed) if denoised else plan


def before_denoising(run: RunReader, file: TableFile, windows: ShardWindows) -> ShardWindows:
    """The windows of a shard, restored where they are denoised."""
    if windows.target_starts is None:
        return windows
    return restored(windows, _mixture(run), size_of(run, file), _token_type(run))


def shard_key(name: str) -> tuple[int, int]:
    """(set, shard) of the plan of a shard (``set-1-shard-00003``) or of one of its files (``set-1/mds/shard.00003``)."""
    found = _SHARD.search(name)
    if found is None:
        raise ValueError(f"{name} is no file of a shard")
    return int(found["set"] or 0), int(found["shard"])


def size_of(run: RunReader, plan: TableFile) -> int:
    """Tokens of the windows of a shard."""
    number = shard_key(plan.name)[0]
    return int(parts_of(run.snapshots["windows"])[0]["sets"][number]["window"])


@contextmanager
def _local(run: RunReader, file: TableFile) -> Iterator[str]:
    """A local path with the content of a file."""
    if isinstance(run.storage, LocalStorage):
        yield str(run.storage.local(file.path))
        return
    with tempfile.NamedTemporaryFile(prefix="curate-verify-", suffix=Path(file.path).suffix) as copy:
        with run.open(file) as source:
            while piece := source.read(1 << 24):
                copy.write(piece)
        copy.flush()
        yield copy.name


Reader = Callable[[RunReader, Report, bool], Iterator[tuple[TableFile, ShardWindows]]]
"""Reads a format: of the plain windows, or of the denoised ones."""


def windows_of(run: RunReader, report: Report, form: str) -> Iterator[tuple[TableFile, ShardWindows]]:
    """(plan, windows as they are in the files) of each shard, of a format as the table's details name it."""
    name = form.removeprefix(DENOISED)
    return READERS[name](run, report, name != form)


def _of(run: RunReader, suffix: str, denoised: bool) -> list[TableFile]:
    """Files of a format."""
    return [
        file
        for file in run.snapshots["shards"].files
        if file.path.endswith(suffix) and (f"/{DENOISED}" in f"/{file.name}") == denoised
    ]


def _per_shard(
    run: RunReader, report: Report, suffix: str, read_one: Callable[[str, int], Iterator[ShardWindows]], denoised: bool
) -> Iterator[tuple[TableFile, ShardWindows]]:
    files = {shard_key(file.name): file for file in _of(run, suffix, denoised)}
    plans = {shard_key(file.name): file for file in run.snapshots["windows"].files}
    if files.keys() != plans.keys():
        report.fault("shards", suffix, f"there are {len(files)} files for {len(plans)} shards")
        return
    for key, plan in sorted(plans.items()):
        size = _width(run, files[key]) if denoised else size_of(run, plan)
        with _local(run, files[key]) as path:
            parts = list(read_one(path, size))
        if parts:
            whole = concatenate(parts)
            if (whole.target_starts is not None) != denoised or whole.size != size:
                raise ValueError(f"{files[key].path} states another kind of window, or another length than its set's")
            yield plan, whole
        elif plan.rows:
            report.fault("shards", files[key].path, "holds no windows, although the plan has some")


def _width(run: RunReader, file: TableFile) -> int:
    """Tokens of the longest denoised window of the set that a file is of, as the set's index states it."""
    name = f"{file.name[: file.name.index(DENOISED)]}{DENOISED}index"
    with run.open(run.snapshots["shards"].named()[name]) as source:
        return int(json.loads(source.read())["window"])


def _read_parquet(run: RunReader, report: Report, denoised: bool) -> Iterator[tuple[TableFile, ShardWindows]]:
    yield from _per_shard(run, report, ".parquet", lambda path, size: parquet.read(path), denoised)


def _read_mds(run: RunReader, report: Report, denoised: bool) -> Iterator[tuple[TableFile, ShardWindows]]:
    yield from _per_shard(run, report, ".mds", mds.read, denoised)


def _read_webdataset(run: RunReader, report: Report, denoised: bool) -> Iterator[tuple[TableFile, ShardWindows]]:
    yield from _per_shard(run, report, ".tar", webdataset.read, denoised)


def _read_numpy(run: RunReader, report: Report, denoised: bool) -> Iterator[tuple[TableFile, ShardWindows]]:
    """Token files, each with its index, and those of denoised windows with their masks."""
    tokens = _of(run, ".npy", denoised)
    indexes, masks = (
        {shard_key(file.name): file for file in _of(run, suffix, denoised)} for suffix in (".npz", ".mask")
    )
    kind, pad = _stored_type(run, denoised), run.snapshots["tokens"].details["eos_id"] or 0
    if {shard_key(file.name) for file in tokens} != indexes.keys() or (denoised and masks.keys() != indexes.keys()):
        report.fault("shards", "numpy", f"there are {len(tokens)} .npy, {len(indexes)} .npz, {len(masks)} .mask files")
        return
    of_shard = iter(sorted(indexes))

    def read_one(path: str, size: int) -> Iterator[ShardWindows]:
        shard, at = next(of_shard), 0
        with _local(run, indexes[shard]) as index:
            for windows in memmap.read(path, index, kind, pad):
                if denoised:
                    with _local(run, masks[shard]) as mask:
                        memmap.check_mask(windows, mask, at)
                    at += len(windows)
                yield windows

    yield from _per_shard(run, report, ".npy", read_one, denoised)


def _token_type(run: RunReader) -> np.dtype[Any]:
    return token_type(int(run.snapshots["tokens"].details["vocab_size"]))


def _stored_type(run: RunReader, denoised: bool) -> np.dtype[Any]:
    return denoised_token_type(_mixture(run)) if denoised else _token_type(run)


def _read_megatron(run: RunReader, report: Report, denoised: bool) -> Iterator[tuple[TableFile, ShardWindows]]:
    """Megatron's one file a set and generation, cut into shards."""
    bins, indexes = ({file.name: file for file in _of(run, suffix, denoised)} for suffix in (".bin", ".idx"))
    if bins.keys() != indexes.keys():
        report.fault("shards", "megatron", f"there are {len(bins)} .bin and {len(indexes)} .idx files")
        return
    plans = {shard_key(file.name): file for file in run.snapshots["windows"].files}
    for generation, part in enumerate(parts_of(run.snapshots["windows"])):
        for entry in part["sets"]:
            name = f"{generation_folder(generation)}{set_prefix(entry, part['sets'], '/')}{DENOISED if denoised else ''}megatron/tokens"
            if name not in bins:
                report.fault("shards", name, "is missing")
                return
            shards = range(entry["first"], entry["first"] + entry["shards"])
            mine = [plans[entry["set"], shard] for shard in shards]
            size = _width(run, bins[name]) if denoised else entry["window"]
            yield from _read_tokens(run, report, bins[name], indexes[name], mine, size, denoised)


def _read_tokens(
    run: RunReader,
    report: Report,
    tokens: TableFile,
    index: TableFile,
    plans: list[TableFile],
    size: int,
    denoised: bool,
) -> Iterator[tuple[TableFile, ShardWindows]]:
    """The shards of one pair of .bin and .idx; they hold tokens alone, so places are taken from the plan."""
    kind = _stored_type(run, denoised)
    pad = run.snapshots["tokens"].details["eos_id"] or 0
    stored = 2 if kind == np.uint16 else 4
    total = 0
    with _local(run, tokens) as path:
        blocks = megatron.read(path, size, kind)
        held: NDArray[Any] = np.zeros((0, size), kind)
        for file in plans:
            plan = expected_windows(run, file, denoised)
            total += len(plan)
            while len(held) < len(plan):
                following = next(blocks, None)
                if following is None:
                    report.fault("shards", tokens.path, f"ends in {file.name}")
                    return
                held = np.concatenate([held, following])
            rows, held = held[: len(plan)], held[len(plan) :]
            filled = np.arange(size) < plan.n_tokens[:, None]
            for w in np.flatnonzero((~filled & (rows != pad)).any(axis=1))[:NAMED]:
                report.fault("shards", f"megatron, {file.name}, window {w}", f"is padded with other tokens than {pad}")
            if len(plan):
                yield file, replace(plan, tokens=np.ascontiguousarray(rows[filled]), size=size)
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


READERS: dict[str, Reader] = {
    "parquet": _read_parquet,
    "mds": _read_mds,
    "megatron": _read_megatron,
    "numpy": _read_numpy,
    "webdataset": _read_webdataset,
}
