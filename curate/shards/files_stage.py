"""The files of shards: each shard in every wanted format, what a format keeps in one place a set, and ``index.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate import schemas
from curate.packing.sets import set_prefix
from curate.run.exchange import read_slices
from curate.run.partition import column, is_in
from curate.run.portable import essential_recipe
from curate.run.snapshot import Snapshot, TableFile
from curate.run.stage import Spec, StageRun, Step
from curate.run.tasks import TaskContext, as_file
from curate.shards import conservation, denoised, mds, megatron, memmap, parquet, webdataset
from curate.shards.denoise import Mixture
from curate.shards.routing_stage import assemble, shard_places, span_keys, span_schema
from curate.shards.sampled import Measures, measure_sample
from curate.shards.windows import ShardWindows

Sum = NDArray[np.uint64]
"""uint64[2]: a conservation sum."""

COPY_BYTES = 8 << 20
"""Files are copied in pieces of this size."""


def token_type(vocab_size: int) -> np.dtype[Any]:
    """The type of token ids in shards."""
    return np.dtype(np.uint16 if vocab_size <= 65_536 else np.uint32)


@dataclass(frozen=True, slots=True)
class FilePart:
    """Rows of windows inside a file, ``bytes`` from byte ``start`` on."""

    file: dict[str, Any]
    start: int
    bytes: int
    rows: int


def whole_file(file: TableFile) -> FilePart:
    """All of a file."""
    return FilePart(asdict(file), 0, file.bytes, file.rows)


def _shared(run: StageRun) -> dict[str, Any]:
    return {
        "folder": run.snapshot_id,
        "vocab_size": int(run.tables["tokens"].details["vocab_size"]),
        "formats": [*run.recipe.shards.formats, *(["denoised"] if run.recipe.shards.denoise else [])],
    }


def shard_specs(run: StageRun, spans: Snapshot, files: Sequence[TableFile]) -> list[Spec]:
    """A task for each of the shards planned in ``files``."""
    named, denoise = {file.name: file for file in files}, run.recipe.shards.denoise
    params = {
        **_shared(run),
        "spans": spans.path,
        "eos_id": run.tables["tokens"].details["eos_id"],
        "bos_id": run.tables["windows"].details.get("bos_id"),
        "seed": run.recipe.seed,
        "example_length": denoise.length if denoise else 0,
    }
    return [
        Spec(
            place.name,
            [named[place.name].checksum, spans.content, run.snapshot_id],
            {"windows": asdict(named[place.name]), **asdict(place), **params},
        )
        for place in shard_places(run.tables["windows"].details["sets"])
        if place.name in named
    ]


def shard_task(
    context: TaskContext,
    windows: Any,
    spans: str,
    name: str,
    number: int,
    shard: int,
    target: int,
    prefix: str,
    size: int,
    folder: str,
    vocab_size: int,
    eos_id: int | None,
    bos_id: int | None,
    formats: list[str],
    seed: int,
    example_length: int,
    former: Any = None,
) -> None:
    """The files of one shard; Megatron's are parts that :func:`join_task` joins.

    ``former`` is its plan before documents were taken down, which the spans are of.
    """
    rows = read_slices(context, context.snapshot(spans), target, span_schema(vocab_size))
    plan = context.read(windows)
    if former is not None:
        before = assemble(context.read(former), rows, size, eos_id, bos_id)
        context.value("sum_before", _sum(before))
        context.count("tokens_before", len(before.tokens))
        there = plan.filter(pa.array(schemas.holds_text(column(plan, "kind"))))
        rows = rows.filter(pa.array(is_in(span_keys(rows), np.sort(span_keys(there)))))
    whole = assemble(plan, rows, size, eos_id, bos_id)
    whole.check()
    n = len(whole)
    if "parquet" in formats:
        local = context.scratch_file()
        parquet.write(whole, str(local))
        context.add("shards", f"{prefix}parquet/shard-{shard:05d}", ".parquet", local, n, folder=folder)
    if "denoised" in formats:
        local = context.scratch_file()
        denoised.write(whole, str(local), shard, Mixture.above(vocab_size, example_length), seed)
        context.add("shards", f"{prefix}denoised/shard-{shard:05d}", ".parquet", local, n, folder=folder)
    if "mds" in formats:
        local = context.scratch_file()
        mds.write(whole, str(local))
        context.add("shards", f"{prefix}mds/shard.{shard:05d}", ".mds", local, n, folder=folder)
    if "megatron" in formats:
        local = context.scratch_file()
        megatron.write_part(whole, str(local), 0 if eos_id is None else eos_id)
        context.add("tmp/megatron", context.task.name, ".bin", local, n)
    if "numpy" in formats:
        local = context.scratch_file()
        memmap.write_tokens(whole, str(local), 0 if eos_id is None else eos_id)
        context.add("shards", f"{prefix}numpy/shard-{shard:05d}", ".npy", local, n, folder=folder)
        local = context.scratch_file()
        memmap.write_index(whole, str(local))
        context.add("shards", f"{prefix}numpy/shard-{shard:05d}", ".npz", local, n, folder=folder)
    if "webdataset" in formats:
        local = context.scratch_file()
        webdataset.write(whole, str(local), shard)
        context.add("shards", f"{prefix}webdataset/shard-{shard:05d}", ".tar", local, n, folder=folder)
    if former is None and (sample := measure_sample(whole, shard, seed)) is not None:
        context.value("sample", sample)
    context.value("tokens", len(whole.tokens))
    context.value("sum", _sum(whole))
    context.count("windows", n)
    context.count("tokens", len(whole.tokens))


def _sum(windows: ShardWindows) -> list[int]:
    return [int(lane) for lane in conservation.add_sums(conservation.window_sums(windows))]


def finish(
    run: StageRun,
    files: Sequence[TableFile],
    parts: dict[str, FilePart],
    sums: dict[int, Sum],
    counters: dict[str, int],
    measures: Measures,
) -> None:
    """Join what formats keep in one place, write every ``index.json``, and commit.

    Args:
        files: files of the shards.
        parts: where each shard's windows in Megatron's form lie, by name of its plan.
        sums: the conservation sum of each set.
        counters: ``windows`` and ``tokens`` of all shards.
        measures: of a sample of windows, by their tokens.
    """
    tokens, windows = run.tables["tokens"], run.tables["windows"]
    shared, sets, denoise = _shared(run), windows.details["sets"], run.recipe.shards.denoise
    vocab_size, eos_id = shared["vocab_size"], tokens.details["eos_id"]
    begins = {name: windows.details[name] for name in ("bos_id",) if name in windows.details}
    head = {
        "format_version": 2,
        "recipe": essential_recipe(run.recipe),
        "tokenizer": {
            "blake2b": tokens.details["tokenizer_hash"],
            "vocab_size": vocab_size,
            "eos_id": eos_id,
            **begins,
        },
    }
    if denoise:
        mixture = Mixture.above(vocab_size, denoise.length)
        ids = {"modes": mixture.modes, "first_sentinel": mixture.sentinels[0], "sentinels": len(mixture.sentinels)}
        head["denoise"] = {"length": denoise.length, **ids}
    specs = []
    for entry in sets:
        about = {**entry, "conservation": conservation.hex_sum(sums[entry["set"]])}
        prefix = set_prefix(entry, sets, "/")
        made = [asdict(file) for file in files if file.name.startswith(prefix)]
        names = [place.name for place in shard_places(sets) if place.number == entry["set"]]
        mine = [asdict(parts[name]) for name in names if name in parts]
        inputs = [[file["checksum"] for file in made], mine, about, head, run.snapshot_id]
        params = {"shards": made, "parts": mine, "prefix": prefix, "head": {**head, **about}, "size": entry["window"]}
        specs.append(Spec(f"index-{entry['set']}", inputs, {**params, **shared}))
    joined = run.step("shards", join_task, specs)
    files = [*files, *joined.files("shards")]
    total = conservation.hex_sum(_total(list(sums.values())))
    totals: dict[str, Any] = {
        "sets": sets,
        "windows": counters.get("windows", 0),
        "tokens": counters.get("tokens", 0),
        "conservation": total,
    }
    if len(sets) > 1:
        spec = Spec(
            "index",
            [[file.checksum for file in files], totals, head, run.snapshot_id],
            {"files": [asdict(file) for file in files], "head": {**head, **totals}, "folder": run.snapshot_id},
        )
        files += run.step("shards", index_task, [spec]).files("shards")
    details = {"formats": shared["formats"], "folder": f"shards/{run.stage_key}/{run.snapshot_id}", **head, **totals}
    run.commit("shards", files, counters, details | ({"measures": measures} if measures else {}))


def sums_of_sets(windows: Snapshot, written: Step, value: str) -> dict[int, Sum]:
    """The sum of ``value`` of the shards that were written, by set."""
    lanes = {record.name: record.values[value] for record in written.records}
    found: dict[int, list[Any]] = {entry["set"]: [] for entry in windows.details["sets"]}
    for place in shard_places(windows.details["sets"]):
        if place.name in lanes:
            found[place.number].append(lanes[place.name])
    return {number: _total(mine) for number, mine in found.items()}


def _total(lanes: list[Any]) -> Sum:
    return conservation.add_sums(np.array(lanes, np.uint64).reshape(-1, 2))


def join_task(
    context: TaskContext,
    shards: list[dict[str, Any]],
    parts: list[dict[str, Any]],
    prefix: str,
    folder: str,
    size: int,
    vocab_size: int,
    formats: list[str],
    head: dict[str, Any],
) -> None:
    """What a format keeps in one place, and ``index.json``, of one set."""
    kind = token_type(vocab_size)
    files = [as_file(file) for file in shards]
    if "mds" in formats:
        local = context.scratch_file()
        entries = [
            (Path(file.path).name, file.bytes, file.rows) for file in files if file.name.startswith(f"{prefix}mds/")
        ]
        local.write_text(mds.index(entries, kind))
        files.append(context.add("shards", f"{prefix}mds/index", ".json", local, 0, folder=folder))
    if "megatron" in formats:
        local = context.scratch_file()
        with local.open("wb") as out:
            for part in parts:
                with context.open(as_file(part["file"])) as source:
                    source.seek(part["start"])
                    left = part["bytes"]
                    while block := source.read(min(COPY_BYTES, left)):
                        out.write(block)
                        left -= len(block)
        n = sum(part["rows"] for part in parts)
        files.append(context.add("shards", f"{prefix}megatron/tokens", ".bin", local, n, folder=folder))
        local = context.scratch_file()
        megatron.write_index(str(local), n, size, kind)
        files.append(context.add("shards", f"{prefix}megatron/tokens", ".idx", local, n, folder=folder))
    _write_index(context, files, head, prefix, folder)


def index_task(context: TaskContext, files: list[dict[str, Any]], head: dict[str, Any], folder: str) -> None:
    """``index.json`` over all sets."""
    _write_index(context, [as_file(file) for file in files], head, "", folder)


def _write_index(
    context: TaskContext, files: Sequence[TableFile], head: dict[str, Any], prefix: str, folder: str
) -> None:
    listing = [
        {
            "name": f"{file.name.removeprefix(prefix)}{Path(file.path).suffix}",
            "windows": file.rows,
            "bytes": file.bytes,
            "blake2b": file.checksum,
        }
        for file in sorted(files, key=lambda file: file.path)
    ]
    local = context.scratch_file()
    local.write_text(
        json.dumps({**head, "files": listing}, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    context.add("shards", f"{prefix}index", ".json", local, 0, folder=folder)
