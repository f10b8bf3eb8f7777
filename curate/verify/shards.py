"""Conservation, proved from the shards: every token of every document exactly as often as it has copies.

Each format that was written is read back. Its windows must be those of the plan, and the additive 128-bit sum over
(doc_id, copy, offset, token) of all its segments must be that of the ``tokens`` and ``copies`` tables
(:mod:`curate.shards.windows`). A difference is traced to the documents that cause it. Denoised windows must have the
examples that the plan and the seed say, and are restored before they are summed.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Generator, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.catalog import DENOISED, KIND_SEPARATOR, generation_folder
from curate.base.columns import flat_tokens, is_in
from curate.base.schemas import NO_DOCUMENT
from curate.engine.exchange import partition_targets
from curate.inspect.reader import RunReader
from curate.packing.plan import set_prefix
from curate.shards.conservation import add_sums, from_hex, hex_sum, separator_sum, token_sum, window_sums
from curate.shards.denoise import Mixture, denoised_token_type, layout, restored
from curate.shards.formats import FORMATS, SetContent, ShardFormat
from curate.shards.windows import ShardWindows, concatenate, token_type, windows_of_plan
from curate.storage.local import LocalStorage
from curate.tables.snapshot import TableFile, parts_of
from curate.verify.findings import NAMED, Report
from curate.verify.windows import read_windows

Sums = NDArray[np.uint64]


def check_shards(run: RunReader, report: Report) -> None:
    """Read every format back and compare it with the plan and with the documents."""
    wanted, tokens = expected_sums(run)
    report.count("tokens of documents, copies counted", tokens)
    parts = [from_hex(part["conservation"]) for part in parts_of(run.snapshots["shards"])]
    stated, separators = hex_sum(add_sums(np.array(parts))), _separators(run)
    total = hex_sum(add_sums(np.concatenate([wanted, separators[None]])))
    if stated != total:
        report.fault("index.json", f"states the sum {stated}, the documents have {total}")
    for form in run.snapshots["shards"].details["formats"]:
        sums, between = np.zeros_like(wanted), np.zeros(2, np.uint64)
        counts = Counter[str]()
        try:
            for plan, stored in windows_of(run, report, form):
                _compare(run, report, f"{form}, {plan.name}", stored, plan)
                windows = before_denoising(run, plan, stored)
                padding = len(windows) * size_of(run, plan) - len(windows.tokens)
                counts.update(windows=len(windows), tokens=len(windows.tokens), padding=padding)
                of_segment, of_document = segment_sums(windows), windows.doc_ids != NO_DOCUMENT
                targets = partition_targets(windows.doc_ids[of_document], run.snapshots["documents"])
                np.add.at(sums, targets, of_segment[of_document])
                between += add_sums(of_segment[~of_document])
        except (ValueError, OSError, KeyError, IndexError, pa.ArrowException) as error:
            report.fault(form, f"cannot be read back: {error}")
            continue
        _check_counts(run, report, form, counts)
        if (between != separators).any():
            report.fault(form, "does not hold the separators of the plan")
        for partition in np.flatnonzero((sums != wanted).any(axis=1))[:NAMED]:
            _trace(run, report, form, int(partition))


def _check_counts(run: RunReader, report: Report, form: str, counts: Counter[str]) -> None:
    """Nothing but document tokens, counted special tokens and counted padding."""
    counters = run.snapshots["windows"].counters
    for name in ("windows", "tokens", "padding"):
        report.count(f"{name} in {form}", counts[name])
        planned = counters.get(name, 0) + (counters.get("special_tokens", 0) if name == "tokens" else 0)
        if counts[name] != planned:
            report.fault(form, f"holds {counts[name]:,} {name}, the plan counted {planned:,}")


# --- the documents' side


def expected_sums(run: RunReader) -> tuple[Sums, int]:
    """(uint64[partitions, 2], tokens): the sum that the shards must hold of each partition's documents."""
    documents = run.snapshots["documents"].files
    out = np.zeros((len(documents), 2), np.uint64)
    tokens = 0
    for number in range(len(documents)):
        for ids, copies, flat, offsets in documents_of(run, number):
            out[number] += token_sum(ids, copies, flat, offsets, **_control(run))
            tokens += int((np.diff(offsets) * copies).sum())
    return out, tokens


def documents_of(
    run: RunReader, partition: int
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint16], Any, NDArray[np.int64]]]:
    """(doc_ids, copies, tokens, offsets) of the documents with copies in a partition, and of the synthetic examples
    made of them, one row group at a time."""
    name = run.snapshots["documents"].files[partition].name
    drawn = run.read(run.snapshots["copies"].named()[name], ["doc_id", "copies"])
    pool, times = drawn["doc_id"].to_numpy(), drawn["copies"].to_numpy()
    for rows in run.batches(run.snapshots["tokens"].named()[name], ["doc_id", "token_ids"]):
        ids = rows["doc_id"].to_numpy()
        copies, is_drawn = np.zeros(len(ids), np.uint16), is_in(ids, pool)
        copies[is_drawn] = times[np.searchsorted(pool, ids[is_drawn])]
        yield ids, copies, *flat_tokens(rows)
    examples = run.snapshots["synthetic"].named()
    for rows in run.batches(examples[name], ["doc_id", "token_ids"]) if name in examples else ():
        yield rows["doc_id"].to_numpy(), np.ones(rows.num_rows, np.uint16), *flat_tokens(rows)


def _control(run: RunReader) -> dict[str, int]:
    """The tokens that begin and end documents, as :func:`token_sum` takes them."""
    windows, end = run.snapshots["windows"].details, run.snapshots["tokens"].details["eos_id"]
    control = {"end": end if windows["eos"] else None, "begin": windows.get("bos_id")}
    return {name: int(token) for name, token in control.items() if token is not None}


def _separators(run: RunReader) -> Sums:
    """uint64[2]: the sum of the separators that the plan has."""
    windows = run.snapshots["windows"]
    separator = windows.details.get("separator_ids", [])
    kinds = (read_windows(run, file)["kind"] for file in windows.files if separator)
    return separator_sum(separator, sum(int((kind == KIND_SEPARATOR).sum()) for kind in kinds))


# --- the shards' side


def segment_sums(windows: ShardWindows) -> Sums:
    """uint64[S, 2]: the sum of every segment."""
    alone = np.arange(len(windows.lengths) + 1, dtype=np.int64)
    return window_sums(replace(windows, window=np.zeros(len(windows.lengths), np.uint32), segment_offsets=alone))


def _compare(run: RunReader, report: Report, where: str, stored: ShardWindows, file: TableFile) -> None:
    """Windows of a shard against its plan; the first difference is named."""
    plan = expected_windows(run, file, stored.target_starts is not None)
    if len(stored) != len(plan):
        report.fault(where, f"holds {len(stored):,} windows, the plan has {len(plan):,}")
        return
    other_lengths = np.diff(stored.token_offsets) != np.diff(plan.token_offsets)
    wrong = np.flatnonzero(other_lengths | (stored.window != plan.window))
    for w in wrong[:NAMED]:
        what = f"holds {stored.n_tokens[w]:,} tokens, the plan has {plan.n_tokens[w]:,}"
        report.fault(f"{where}, window {plan.window[w]}", what)
    if len(wrong) or len(stored.lengths) != len(plan.lengths):
        return
    targets = [] if plan.target_starts is None else ["target_starts"]
    for name in ("doc_ids", "copies", "starts", "lengths", *targets):
        have, want = getattr(stored, name), getattr(plan, name)
        for i in np.flatnonzero(have != want)[:1]:
            w = int(np.searchsorted(plan.segment_offsets, i, side="right")) - 1
            what = f"{name} of segment {i - plan.segment_offsets[w]}: {have[i]}, the plan has {want[i]}"
            report.fault(f"{where}, window {plan.window[w]}", what)
            return


# --- where they differ


def _trace(run: RunReader, report: Report, form: str, partition: int) -> None:
    """Name the documents of a partition whose tokens in the shards are not theirs."""
    ids, wanted = [], []
    for doc_ids, copies, flat, offsets in documents_of(run, partition):
        for i in np.flatnonzero(copies > 0):
            ids.append(doc_ids[i])
            wanted.append(token_sum(doc_ids[i : i + 1], copies[i : i + 1], flat, offsets[i : i + 2], **_control(run)))
    known = np.array(ids, np.uint64)
    expected = np.array(wanted, np.uint64).reshape(-1, 2)
    found = np.zeros_like(expected)
    named = 0
    for plan, stored in windows_of(run, Report(report.workspace), form):
        windows = before_denoising(run, plan, stored)
        is_here = partition_targets(windows.doc_ids, run.snapshots["documents"]) == partition
        is_here &= windows.doc_ids != NO_DOCUMENT
        is_known = is_here & is_in(windows.doc_ids, known)
        for row in np.flatnonzero(is_here & ~is_known)[: NAMED - named]:
            named += 1
            where = f"{form}, {plan.name}, document {windows.doc_ids[row]}"
            report.fault(where, "has tokens in the shards, but no copies")
        np.add.at(found, np.searchsorted(known, windows.doc_ids[is_known]), segment_sums(windows)[is_known])
    for i in np.flatnonzero((found != expected).any(axis=1))[: max(NAMED - named, 1)]:
        report.fault(
            f"{form}, document {known[i]}", "its tokens are not in the shards exactly as often as it has copies"
        )


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
