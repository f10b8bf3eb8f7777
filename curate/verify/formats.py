"""Each format of the shards, read back: what is in the files, beside what the plan says must be there."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Generator, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

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
from curate.verify.findings import NAMED, Report
from curate.verify.windows import read_windows

_SHARD = re.compile(r"(set-(?P<set>\d+)[-/])?(\w+/)*shard[-.](?P<shard>\d+)$")

Key = TypeVar("Key", bound=Hashable)


def plan_of(run: RunReader, file: TableFile) -> ShardWindows:
    """The windows of one shard as planned, without tokens."""
    columns = read_windows(run, file)
    named = {name: columns[name] for name in ("window", "kind", "doc_id", "copy", "start", "length")}
    begins = "bos_id" in run.snapshots["windows"].details
    return windows_of_plan(size_of(run, file), **named, tokens=np.zeros(0, np.uint16), begins=begins)


def _token_type(run: RunReader) -> np.dtype[Any]:
    return token_type(int(run.snapshots["tokens"].details["vocab_size"]))


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
            shutil.copyfileobj(source, copy, 1 << 24)
        copy.flush()
        yield copy.name


def windows_of(run: RunReader, report: Report, form: str) -> Iterator[tuple[TableFile, ShardWindows]]:
    """(plan, windows as they are in the files) of each shard, of a format as the table's details name it."""
    reader = _FormatReader(run, report, FORMATS.get(form.removeprefix(DENOISED)), form.startswith(DENOISED))
    yield from reader.read_joined() if reader.form.joined else reader.read_shards()


class _FormatReader:
    """The files of one format, denoised or not."""

    def __init__(self, run: RunReader, report: Report, form: ShardFormat, denoised: bool) -> None:
        self.run, self.report, self.form, self.denoised = run, report, form, denoised
        self.kind = denoised_token_type(_mixture(run)) if denoised else _token_type(run)
        self.pad = run.snapshots["tokens"].details["eos_id"] or 0
        self.plans = {shard_key(file.name): file for file in run.snapshots["windows"].files}

    def files(self, key: Callable[[str], Key], wanted: Collection[Key]) -> dict[str, dict[Key, TableFile]]:
        """Files by suffix and by the ``key`` of their names, without indexes of a set; none unless they are as ``wanted``."""
        folder = f"/{DENOISED if self.denoised else ''}{self.form.name}/"
        named = [(f"/{file.name}", file) for file in self.run.snapshots["shards"].files]
        own = [file for name, file in named if folder in name and (f"/{DENOISED}" in name) == self.denoised]
        suffixes = self.form.suffixes(self.denoised)
        found = {suffix: {key(file.name): file for file in own if file.path.endswith(suffix)} for suffix in suffixes}
        if all(files.keys() == set(wanted) for files in found.values()):
            return found
        counts = ", ".join(f"{len(files)} {suffix}" for suffix, files in found.items())
        self.report.fault(self.form.name, f"there are {counts} files for {len(wanted)} shards or sets")
        return {}

    def width(self, file: TableFile, window: int) -> int:
        """Tokens of the windows in a file: ``window``, or those of the longest denoised one, as the set's index states it."""
        if not self.denoised:
            return window
        name = f"{file.name[: file.name.index(DENOISED)]}{DENOISED}index"
        with self.run.open(self.run.snapshots["shards"].named()[name]) as source:
            return int(json.loads(source.read())["window"])

    def read_shards(self) -> Iterator[tuple[TableFile, ShardWindows]]:
        """Shards that have files of their own."""
        by_suffix = self.files(shard_key, self.plans)
        for key, plan in sorted(self.plans.items()) if by_suffix else ():
            own = {suffix: files[key] for suffix, files in by_suffix.items()}
            first = next(iter(own.values()))
            size = self.width(first, size_of(self.run, plan))
            with ExitStack() as stack:
                local = {suffix: stack.enter_context(_local(self.run, file)) for suffix, file in own.items()}
                parts = list(self.form.read(local, size, self.kind, self.pad))
            if parts:
                whole = concatenate(parts)
                if (whole.target_starts is not None) != self.denoised or whole.size != size:
                    raise ValueError(f"{first.path} states another kind of window, or another length than its set's")
                yield plan, whole
            elif plan.rows:
                self.report.fault(first.path, "holds no windows, although the plan has some")

    def read_joined(self) -> Iterator[tuple[TableFile, ShardWindows]]:
        """Shards out of one file a set and generation."""
        stem, main = self.form.joined or ("", "")
        sets: dict[str, dict[str, Any]] = {}
        for generation, part in enumerate(parts_of(self.run.snapshots["windows"])):
            for entry in part["sets"]:
                folder = f"{generation_folder(generation)}{set_prefix(entry, part['sets'], '/')}"
                sets[f"{folder}{DENOISED if self.denoised else ''}{self.form.name}/{stem}"] = entry
        by_suffix = self.files(str, sets)
        for name, entry in sets.items() if by_suffix else ():
            files = {suffix: files[name] for suffix, files in by_suffix.items()}
            plans = [self.plans[entry["set"], entry["first"] + i] for i in range(entry["shards"])]
            size = self.width(files[main], entry["window"])
            n_windows = yield from self._cut(files.pop(main), plans, size)
            for suffix, file in files.items():
                with _local(self.run, file) as path:
                    try:
                        content = SetContent((), n_windows, size, self.kind, self.denoised)
                        self.form.check_joined({suffix: path}, content)
                    except ValueError as error:
                        self.report.fault(file.path, str(error))

    def _cut(
        self, file: TableFile, plans: list[TableFile], size: int
    ) -> Generator[tuple[TableFile, ShardWindows], None, int]:
        """The shards of one joined file; it holds tokens alone, so places are taken from the plan. Returns the windows."""
        rows: NDArray[Any] = np.zeros((0, size), self.kind)
        n_windows = 0
        with _local(self.run, file) as path:
            blocks = self.form.read_joined(path, size, self.kind)
            for shard in plans:
                plan = expected_windows(self.run, shard, self.denoised)
                n_windows += len(plan)
                while len(rows) < len(plan):
                    following = next(blocks, None)
                    if following is None:
                        raise ValueError(f"{file.path} ends in {shard.name}")
                    rows = np.concatenate([rows, following])
                own, rows = rows[: len(plan)], rows[len(plan) :]
                filled = np.arange(size) < plan.n_tokens[:, None]
                for w in np.flatnonzero((~filled & (own != self.pad)).any(axis=1))[:NAMED]:
                    where = f"{self.form.name}, {shard.name}, window {w}"
                    self.report.fault(where, f"is padded with other tokens than {self.pad}")
                if len(plan):
                    yield shard, replace(plan, tokens=np.ascontiguousarray(own[filled]), size=size)
            if len(rows) or next(blocks, None) is not None:
                self.report.fault(file.path, "holds windows behind the last one of the plan")
        return n_windows
