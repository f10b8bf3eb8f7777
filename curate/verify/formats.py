"""Each format of the shards, read back: what is in the files, beside what the plan says must be there."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.base.catalog import DENOISED, generation_folder
from curate.inspect.reader import RunReader
from curate.packing.plan import set_prefix
from curate.shards.denoise import Mixture, denoised_token_type, layout, restored
from curate.shards.formats import FORMATS, SetContent, ShardFormat
from curate.shards.windows import ShardWindows, concatenate, token_type, windows_of_plan
from curate.storage.local import LocalStorage
from curate.tables.snapshot import TableFile, parts_of
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


def windows_of(run: RunReader, report: Report, form: str) -> Iterator[tuple[TableFile, ShardWindows]]:
    """(plan, windows as they are in the files) of each shard, of a format as the table's details name it."""
    name = form.removeprefix(DENOISED)
    reader = _read_joined if FORMATS.get(name).joined else _read_shards
    yield from reader(run, report, FORMATS.get(name), name != form)


def _files_of(run: RunReader, form: ShardFormat, denoised: bool) -> dict[str, list[TableFile]]:
    """Files of a format by suffix, without its indexes of a set."""
    folder = f"{DENOISED}{form.name}/" if denoised else f"{form.name}/"
    own = [
        file
        for file in run.snapshots["shards"].files
        if f"/{folder}" in f"/{file.name}" and (f"/{DENOISED}" in f"/{file.name}") == denoised
    ]
    return {suffix: [file for file in own if file.path.endswith(suffix)] for suffix in form.suffixes(denoised)}


def _read_shards(
    run: RunReader, report: Report, form: ShardFormat, denoised: bool
) -> Iterator[tuple[TableFile, ShardWindows]]:
    by_suffix = {
        suffix: {shard_key(file.name): file for file in files}
        for suffix, files in _files_of(run, form, denoised).items()
    }
    plans = {shard_key(file.name): file for file in run.snapshots["windows"].files}
    if any(files.keys() != plans.keys() for files in by_suffix.values()):
        counts = ", ".join(f"{len(files)} {suffix}" for suffix, files in by_suffix.items())
        report.fault("shards", form.name, f"there are {counts} files for {len(plans)} shards")
        return
    kind, pad = _stored_type(run, denoised), run.snapshots["tokens"].details["eos_id"] or 0
    for key, plan in sorted(plans.items()):
        own = {suffix: files[key] for suffix, files in by_suffix.items()}
        path = next(iter(own.values())).path
        size = _width(run, next(iter(own.values()))) if denoised else size_of(run, plan)
        with ExitStack() as stack:
            local = {suffix: stack.enter_context(_local(run, file)) for suffix, file in own.items()}
            parts = list(form.read(local, size, kind, pad))
        if parts:
            whole = concatenate(parts)
            if (whole.target_starts is not None) != denoised or whole.size != size:
                raise ValueError(f"{path} states another kind of window, or another length than its set's")
            yield plan, whole
        elif plan.rows:
            report.fault("shards", path, "holds no windows, although the plan has some")


def _width(run: RunReader, file: TableFile) -> int:
    """Tokens of the longest denoised window of the set that a file is of, as the set's index states it."""
    name = f"{file.name[: file.name.index(DENOISED)]}{DENOISED}index"
    with run.open(run.snapshots["shards"].named()[name]) as source:
        return int(json.loads(source.read())["window"])


def _token_type(run: RunReader) -> np.dtype[Any]:
    return token_type(int(run.snapshots["tokens"].details["vocab_size"]))


def _stored_type(run: RunReader, denoised: bool) -> np.dtype[Any]:
    return denoised_token_type(_mixture(run)) if denoised else _token_type(run)


def _read_joined(
    run: RunReader, report: Report, form: ShardFormat, denoised: bool
) -> Iterator[tuple[TableFile, ShardWindows]]:
    """One file a set and generation, cut into shards."""
    by_suffix = {
        suffix: {file.name: file for file in files} for suffix, files in _files_of(run, form, denoised).items()
    }
    if len({frozenset(files) for files in by_suffix.values()}) > 1:
        counts = " and ".join(f"{len(files)} {suffix}" for suffix, files in by_suffix.items())
        report.fault("shards", form.name, f"there are {counts} files")
        return
    plans = {shard_key(file.name): file for file in run.snapshots["windows"].files}
    stem, main = form.joined or ("", "")
    for generation, part in enumerate(parts_of(run.snapshots["windows"])):
        for entry in part["sets"]:
            prefix = (
                f"{generation_folder(generation)}{set_prefix(entry, part['sets'], '/')}{DENOISED if denoised else ''}"
            )
            name = f"{prefix}{form.name}/{stem}"
            if name not in by_suffix[main]:
                report.fault("shards", name, "is missing")
                return
            files = {suffix: files[name] for suffix, files in by_suffix.items()}
            shards = range(entry["first"], entry["first"] + entry["shards"])
            own = [plans[entry["set"], shard] for shard in shards]
            size = _width(run, files[main]) if denoised else entry["window"]
            yield from _read_set(run, report, form, files, own, size, denoised)


def _read_set(
    run: RunReader,
    report: Report,
    form: ShardFormat,
    files: dict[str, TableFile],
    plans: list[TableFile],
    size: int,
    denoised: bool,
) -> Iterator[tuple[TableFile, ShardWindows]]:
    """The shards of one joined file; it holds tokens alone, so places are taken from the plan."""
    kind = _stored_type(run, denoised)
    pad = run.snapshots["tokens"].details["eos_id"] or 0
    main, total = form.suffixes(denoised)[0], 0
    with _local(run, files[main]) as path:
        blocks = form.read_joined(path, size, kind)
        held: NDArray[Any] = np.zeros((0, size), kind)
        for file in plans:
            plan = expected_windows(run, file, denoised)
            total += len(plan)
            while len(held) < len(plan):
                following = next(blocks, None)
                if following is None:
                    report.fault("shards", files[main].path, f"ends in {file.name}")
                    return
                held = np.concatenate([held, following])
            rows, held = held[: len(plan)], held[len(plan) :]
            filled = np.arange(size) < plan.n_tokens[:, None]
            for w in np.flatnonzero((~filled & (rows != pad)).any(axis=1))[:NAMED]:
                report.fault(
                    "shards", f"{form.name}, {file.name}, window {w}", f"is padded with other tokens than {pad}"
                )
            if len(plan):
                yield file, replace(plan, tokens=np.ascontiguousarray(rows[filled]), size=size)
        if len(held) or next(blocks, None) is not None:
            report.fault("shards", files[main].path, "holds windows behind the last one of the plan")
    for suffix, file in files.items():
        if suffix == main:
            continue
        with _local(run, file) as path:
            try:
                form.check_joined({suffix: path}, SetContent((), total, size, kind, denoised))
            except ValueError as error:
                report.fault("shards", file.path, str(error))
