"""Looking at a large run: seconds and memory of statistics, explanations and samples, in Python and as commands.

    python benchmarks/looking.py [--documents 1000000] [--work DIR]

The workspace is made by hand with the library's own writer: every table that these commands read, in partitions of 128 MB
of text, a quarter of the documents removed, windows of 8,192 tokens. Tokens and shards are left out: nothing here reads
them. Each measure is a process of its own; of three tries the median is shown, with files in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.ids import doc_id
from curate.storage.local import LocalStorage, file_checksum
from curate.tables.parquet import TableWriter
from curate.tables.snapshot import Snapshot, TableFile, write_snapshot
from curate.tables.workspace import RunState, write_run

TEXT_BYTES = 4_000
PARTITION = 128_000_000 // TEXT_BYTES
WINDOW = 8_192
WINDOWS_PER_SHARD = 4_096
DIM = 256
TRIES = 3
SOURCES = ("web", "books", "code", "news")

LIMITS = {"stats()": 1.0, "explain(": 0.5, "curate ": 2.0}
"""Most seconds, by the beginning of a measure's name."""

PEAK = "int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1e3"

IN_PYTHON = """
import json, re, time
import curate
run = curate.open({workspace!r})
began = time.perf_counter()
{call}
print(json.dumps([time.perf_counter() - began, {peak}]))
"""

AS_COMMAND = """
import re, sys
from curate.cli import main
main({arguments!r})
print({peak}, file=sys.stderr)
"""


class Workspace:
    """Writes tables, a partition at a time."""

    def __init__(self, root: Path) -> None:
        self.storage = LocalStorage(root)
        self.files: dict[str, list[TableFile]] = {}

    def write(self, table: str, name: str, rows: pa.Table) -> None:
        """One file of a table."""
        local = self.storage.scratch() / "part"
        writer = TableWriter(local, rows.schema, {})
        writer.write(rows)
        writer.close()
        checksum, size = file_checksum(local), local.stat().st_size
        path = f"{table}/{'1' * 16}/{'2' * 16}/{name}.parquet"
        self.storage.move_in(local, path)
        file = TableFile(name, path, writer.rows, size, checksum, writer.first, writer.last)
        self.files.setdefault(table, []).append(file)

    def finish(self, counters: dict[str, dict[str, int]], details: dict[str, dict[str, Any]]) -> None:
        """Snapshots of all tables, and ``run.json``."""
        recipe = {
            "name": "looking",
            "workspace": ".",
            "inputs": [{"source": name, "path": f"../in/{name}.jsonl"} for name in SOURCES],
            "pack": {"window": WINDOW},
        }
        paths = {}
        for table, files in self.files.items():
            one = (table, "none", "1" * 16, "3" * 16, tuple(files), counters.get(table, {}), details.get(table, {}))
            snapshot = Snapshot(*one)
            write_snapshot(self.storage, snapshot)
            paths[table] = snapshot.path
        write_run(self.storage, RunState("looking", recipe, paths, [], "inline"))


def texts(count: int, draw: np.random.Generator) -> pa.Array:
    """Texts of about TEXT_BYTES: made-up words."""
    sizes = np.maximum(draw.lognormal(np.log(TEXT_BYTES * 0.8), 0.7, count), 50).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    letters = draw.integers(ord("a"), ord("z") + 1, (5_000, 6), dtype=np.uint8)
    letters[:, 5] = ord(" ")
    words = letters[draw.zipf(1.2, int(ends[-1]) // 6 + 1) % len(letters)].reshape(-1)[: int(ends[-1])]
    return pa.LargeStringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(words.tobytes()))


def build(root: Path, documents: int) -> dict[str, str]:
    """The workspace; returns ids to ask for: a kept document, a near duplicate, one that a rule removed."""
    made = Workspace(root)
    counts = dict.fromkeys(("kept", "quality", "exact", "near"), 0)
    shown: dict[str, str] = {}
    kept_ids, kept_tokens = [], []
    for part, first in enumerate(range(0, documents, PARTITION)):
        n = min(PARTITION, documents - first)
        draw = np.random.default_rng(part)
        ids = np.array([doc_id(part, 0)], np.uint64) + np.arange(n, dtype=np.uint64)
        names = [
            f"https://example.org/{number * 2654435761 % 2**32:08x}/page-{number}" for number in range(first, first + n)
        ]
        source = pa.array(np.array(SOURCES)[draw.integers(0, len(SOURCES), n)])
        body = texts(n, draw)
        size = np.diff(np.frombuffer(body.buffers()[1], np.int64))
        end = draw.choice(4, n, p=[0.75, 0.15, 0.03, 0.07])
        end[0] = 0  # the keeper of its partition's duplicates
        kept = end == 0
        tokens = np.maximum(size // 5, 1).astype(np.uint32)
        for name, code in (("kept", 0), ("quality", 1), ("exact", 2), ("near", 3)):
            counts[name] += int((end == code).sum())
            shown[name] = names[int(np.flatnonzero(end == code)[-1])]
        kept_ids.append(ids[kept])
        kept_tokens.append(tokens[kept])
        for table, rows in tables(part, ids, names, source, body, size, end, tokens, draw):
            made.write(table, f"part-{part:07d}-00000", rows)
    pieces = windows(made, np.concatenate(kept_ids), np.concatenate(kept_tokens))
    by_reason = {
        "removed.quality.gopher_quality.gopher_short_doc": counts["quality"],
        **{f"removed.dedup.{kind}": counts[kind] for kind in ("exact", "near")},
    }
    made.finish(
        {
            "documents": {"documents": documents},
            "verdicts": {"kept": documents - counts["quality"], "removed": counts["quality"]},
            "duplicates": {f"removed.{kind}": counts[kind] for kind in ("exact", "near")},
            "windows": pieces,
            "ledger": {"kept": counts["kept"], "removed": documents - counts["kept"], **by_reason},
        },
        {"windows": {"window": WINDOW, "method": "related"}, "embeddings": {"dim": DIM}},
    )
    return shown


def tables(
    part: int,
    ids: np.ndarray,
    names: list[str],
    source: pa.Array,
    body: pa.Array,
    size: np.ndarray,
    end: np.ndarray,
    tokens: np.ndarray,
    draw: np.random.Generator,
) -> Iterator[tuple[str, pa.Table]]:
    """(table, rows) of one partition."""
    n, kept, gone = len(ids), end == 0, end >= 2
    keeper = np.full(n, ids[0])
    yield "documents", pa.table([ids, names, source, body, pa.nulls(n, pa.string())], schema=schemas.DOCUMENTS)
    rejects = [np.array([doc_id(part + 100_000, 0)], np.uint64), *([text] for text in (source[0].as_py(), "x.jsonl"))]
    yield "rejects", pa.table([*rejects, [0], ["invalid_json"], ["{"]], schema=schemas.REJECTS).slice(0, 0)
    measured = {f"statistic_{number}": draw.random(n) for number in range(30)}
    yield "signals", pa.table({"doc_id": ids, "n_bytes": size, "n_words": size // 6, **measured})
    rule = pa.array(np.where(end == 1, "gopher_quality.gopher_short_doc", None), pa.string())
    yield "verdicts", pa.table([ids, rule, pa.array(size.astype(float))], schema=schemas.VERDICTS)
    yield "edits", schemas.EDITS.empty_table()
    m = int(gone.sum())
    kind = pa.array(np.where(end[gone] == 2, "exact", "near"))
    alike = [
        pa.array(np.full(m, value), type_)
        for value, type_ in ((0.9, pa.float32()), (9, pa.uint16()), (1.0, pa.float32()))
    ]
    duplicates = [ids[gone], kind, keeper[gone], keeper[gone], *alike]
    yield "duplicates", pa.table(duplicates, schema=schemas.DUPLICATES)
    yield "contamination", schemas.CONTAMINATION.empty_table()
    yield "paragraphs", schemas.PARAGRAPHS.empty_table()
    left = int(kept.sum())
    vectors = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(DIM), left, [None, pa.py_buffer(draw.integers(-127, 128, left * DIM).astype(np.int8).tobytes())]
    )
    scale = pa.array(np.ones(left), pa.float32())
    yield "embeddings", pa.table([ids[kept], vectors, scale], schema=schemas.embeddings_schema(DIM))
    place = draw.permutation(left).astype(np.uint64)
    cluster = pa.array(place // 1_000, pa.int32())
    yield "order", pa.table([ids[kept], place, cluster, scale], schema=schemas.ORDER)
    status = pa.array(np.where(kept, "kept", "removed"))
    stage = pa.array(np.array([None, "quality", "dedup", "dedup"])[end], pa.string())
    reason = pa.array(np.array([None, "gopher_quality.gopher_short_doc", "exact", "near"])[end], pa.string())
    only_kept = ~kept
    columns = {
        "doc_id": ids,
        "id": names,
        "source": source,
        "licence": pa.nulls(n, pa.string()),
        "status": status,
        "stage": stage,
        "reason": reason,
        "detail": pa.array(np.where(kept, None, "0.9"), pa.string()),
        "keeper": pa.array(keeper, mask=~gone),
        "n_tokens": pa.array(tokens, mask=only_kept),
        "copies": pa.array(np.ones(n, np.uint16), mask=only_kept),
        "cluster": pa.array(np.zeros(n, np.int32), mask=only_kept),
        "position": pa.array(ids, mask=only_kept),
        "first_set": pa.array(np.zeros(n, np.uint16), mask=only_kept),
        "first_shard": pa.array(np.zeros(n, np.uint32), mask=only_kept),
        "first_window": pa.array(np.zeros(n, np.uint32), mask=only_kept),
    }
    yield "ledger", pa.table(columns).cast(schemas.LEDGER)


def windows(made: Workspace, ids: np.ndarray, tokens: np.ndarray) -> dict[str, int]:
    """The plan: all documents in an order by hash, one after the other, those above a window in several."""
    order = np.random.default_rng(0).permutation(len(ids))
    ids, tokens = ids[order], tokens[order].astype(np.int64)
    counts = -(-tokens // WINDOW)
    doc = np.repeat(np.arange(len(ids)), counts)
    nth = np.arange(len(doc)) - np.repeat(np.cumsum(counts) - counts, counts)
    length = np.minimum(tokens[doc] - nth * WINDOW, WINDOW)
    window = (np.cumsum(length) - 1) // WINDOW  # near enough to a packing: how full they are is not looked at
    for shard in range(int(window[-1]) // WINDOWS_PER_SHARD + 1):
        mine = np.flatnonzero(window // WINDOWS_PER_SHARD == shard)
        zeros = np.zeros(len(mine))
        columns = [zeros, zeros + shard, window[mine] % WINDOWS_PER_SHARD, np.arange(len(mine)), zeros]
        values = [*columns, ids[doc[mine]], zeros, nth[mine] * WINDOW, length[mine]]
        arrays = [pa.array(value).cast(field.type) for value, field in zip(values, schemas.WINDOWS, strict=True)]
        made.write("windows", f"shard-{shard:05d}", pa.table(arrays, schema=schemas.WINDOWS))
    return {"windows": int(window[-1]) + 1, "tokens": int(tokens.sum())}


def in_python(workspace: Path, call: str) -> tuple[float, float]:
    """(seconds of a call after ``curate.open``, peak MB of the process)."""
    code = IN_PYTHON.format(workspace=str(workspace), call=call, peak=PEAK)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def as_command(arguments: list[str]) -> tuple[float, float]:
    """(seconds of a command from its start to its end, peak MB)."""
    code = AS_COMMAND.format(arguments=arguments, peak=PEAK)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - began, float(done.stderr.splitlines()[-1])


def measure(workspace: Path, ids: dict[str, str]) -> bool:
    """Print the table; returns whether every limit holds."""
    calls = {"stats()": "run.stats()"}
    calls |= {f"explain(id) of one {end}": f"assert run.explain({name!r})" for end, name in ids.items()}
    calls |= {"explain(doc_id)": f"assert run.explain({doc_id(0, 0)})", "sample()": "run.sample()"}
    calls |= {"sample('near', n=20)": "run.sample('near', n=20)"}
    commands = {"stats": [], "explain": [ids["kept"]], "sample": [], "report": ["-o", os.devnull]}
    tries = {name: [in_python(workspace, call) for _ in range(TRIES)] for name, call in calls.items()}
    tries |= {
        f"curate {name}": [as_command([name, str(workspace), *more]) for _ in range(TRIES)]
        for name, more in commands.items()
    }
    good = True
    print(f"{'':24} {'seconds':>8} {'limit':>6} {'peak MB':>8}")
    for name, found in tries.items():
        seconds, memory = (statistics.median(values) for values in zip(*found, strict=True))
        limit = next((most for start, most in LIMITS.items() if name.startswith(start) and "report" not in name), None)
        good &= limit is None or seconds <= limit
        print(f"{name:24} {seconds:8.2f} {limit or '':>6} {memory:8.0f}")
    return good


def main() -> int:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--work", help="where the workspace is kept; used again when it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(options.work or folder) / f"looking-{options.documents}"
        known = root.with_suffix(".json")
        if not known.exists():
            began = time.perf_counter()
            known.write_text(json.dumps(build(root, options.documents)))
            print(f"made in {time.perf_counter() - began:.0f} s")
        return 0 if measure(root, json.loads(known.read_text())) else 1


if __name__ == "__main__":
    sys.exit(main())
