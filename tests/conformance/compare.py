"""How far verdicts agree with datatrove's filters, as a table: ``python3 tasks.py conformance [PATH …]``.

Without a path, the texts are those that ``curate demo`` gathers from the Python environment. Each filter is compared
alone on the same text, and all four in the order of datatrove's ``examples/fineweb.py``, FineWeb's on the text that C4
leaves. A reason's agreement is the share of the documents with this reason on either side that have it on both.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.base.edits import apply_edits
from curate.base.text import cut_spans
from curate.quality.c4 import line_parameters
from curate.quality.pii import find, masks
from curate.quality.rule_sets import FINEWEB
from curate.quality.signals import measure_signals
from curate.quality.verdicts import decide
from tests.conformance.texts import PASSAGE_BYTES, distinct, passages, read

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parents[1] / ".venv-conformance" / "bin" / "python"
BATCH = 500
WHOLE_BYTES = 1_000_000
"""The longest whole text: datatrove takes minutes for a book."""


class Agreement(NamedTuple):
    """One comparison of n documents: how many verdicts are equal, and (reference, both, either) by reason."""

    n: int
    equal: int
    reasons: dict[str, tuple[int, int, int]]
    different: list[int]


def reference(texts: list[str], python: Path = PYTHON) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """What datatrove's filters say of every text, and their seconds of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "texts", Path(folder) / "out"
        given.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
        command = [str(python), str(HERE / "reference_filters.py"), str(given), str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"datatrove's filters failed:\n{done.stderr[-3000:]}")
        *found, last = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    return found, last["seconds"]


def ours(texts: list[str]) -> tuple[list[dict[str, Any]], float]:
    """The same of this project's rules, and the seconds of processor time of all but digests."""
    found: list[dict[str, Any]] = []
    seconds = 0.0
    for start in range(0, len(texts), BATCH):
        some = texts[start : start + BATCH]
        ids = pa.array(range(len(some)), pa.uint64())
        batch = pa.table({"doc_id": ids, "source": ["web"] * len(some), "text": pa.array(some, pa.large_string())})
        rows: list[dict[str, Any]] = [{} for _ in some]
        for name, preset in (("c4_fineweb", "fineweb"), ("c4", "c4")):
            began = time.process_time()
            signals, edits = measure_signals(batch, None, {}, {"web": line_parameters(preset, {})})
            chain, _ = decide(signals, list(FINEWEB), preset="fineweb")
            alone, _ = decide(signals, ["c4"], preset="c4")
            if preset == "fineweb":
                seconds += time.process_time() - began
                spans = [edits[column].to_numpy() for column in ("start", "end")]
                left = cut_spans(batch["text"], edits["doc_id"].to_numpy().astype(np.int64), *spans).to_pylist()
                for row, reason, text in zip(rows, chain.to_pylist(), left, strict=True):
                    row["chain"] = reason
                    row["text"] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
                for other in ("gopher_repetition", "gopher_quality", "fineweb"):
                    reasons, _ = decide(signals, [other], preset="gopher")
                    _put(rows, other, reasons)
            _put(rows, name, alone)
        for row, digest in zip(rows, _masked(batch["text"]), strict=True):
            row["pii"] = digest
        found += rows
    return found, seconds


def _masked(texts: pa.ChunkedArray) -> list[str]:
    """Digests of the texts with e-mail and IP addresses masked as the reference is told to."""
    edits = masks(find(texts), np.arange(len(texts), dtype=np.uint64), {"email": ["E"], "ip": ["I"]})
    spans = [edits[name].to_numpy().astype(np.int64) for name in ("doc_id", "start", "end")]
    left = apply_edits(texts, *spans, edits["replacement"]).to_pylist()
    return [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in left]


def _put(rows: list[dict[str, Any]], name: str, reasons: pa.Array) -> None:
    for row, reason in zip(rows, reasons.to_pylist(), strict=True):
        row[name] = reason.partition(".")[2] if reason else None


COMPARED = ("gopher_repetition", "gopher_quality", "c4", "c4_fineweb", "fineweb", "chain", "text", "pii")


def agreement(theirs: list[dict[str, Any]], mine: list[dict[str, Any]]) -> dict[str, Agreement]:
    """Agreement by what is compared; ``text`` is that which C4 leaves, where the reference keeps the document, ``pii`` the
    text with e-mail and public IP addresses masked."""
    result = {}
    for name in COMPARED:
        rows = [i for i, one in enumerate(theirs) if name != "text" or one["text"] is not None]
        said, both, either = Counter[str](), Counter[str](), Counter[str]()
        different = [i for i in rows if theirs[i][name] != mine[i][name]]
        if name not in ("text", "pii"):
            for i in rows:
                a, b = theirs[i][name], mine[i][name]
                said[a] += a is not None
                both[a] += a is not None and a == b
                for reason in {a, b} - {None}:
                    either[reason] += 1
        reasons = {reason: (said[reason], both[reason], either[reason]) for reason in sorted(either)}
        result[name] = Agreement(len(rows), len(rows) - len(different), reasons, different)
    return result


def table(found: dict[str, Agreement]) -> str:
    """The agreement as lines of a Markdown table."""
    lines = ["| | documents | equal | % |", "|---|---:|---:|---:|"]
    for name, one in found.items():
        lines.append(f"| **{name}** | {one.n:,} | {one.equal:,} | {100 * one.equal / max(one.n, 1):.3f} |")
        for reason, (_, both, either) in one.reasons.items():
            lines.append(f"| `{reason}` | {either:,} | {both:,} | {100 * both / either:.2f} |")
    return "\n".join(lines)


def gathered(places: list[Path], most_bytes: int, most_whole_bytes: int) -> tuple[list[str], list[str]]:
    """(passages, whole texts that are longer than one passage) of the texts at ``places``."""
    texts = list(read(places))
    cut = distinct((passage for text in texts for passage in passages(text)), most_bytes)
    longer = (text for text in texts if PASSAGE_BYTES < len(text.encode()) <= WHOLE_BYTES)
    return cut, distinct(longer, most_whole_bytes)


def main() -> int:
    """Prints the table; 1 where the agreement is below 99.5 %, or 99 % for a reason with 50 documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", type=Path, help="files and folders with texts")
    parser.add_argument("--megabytes", type=float, default=8, help="passages to compare, drawn by hash")
    parser.add_argument("--whole", type=float, default=4, metavar="MEGABYTES", help="whole texts to compare")
    parser.add_argument("--python", type=Path, default=PYTHON, help="the Python that has datatrove")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N texts of each kind that differ")
    options = parser.parse_args()
    if not options.python.exists():
        print("datatrove's environment is absent: run `python3 tasks.py conformance`", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        places = options.places
        if not places:
            from curate.reading.demo import gather

            gather(Path(folder) / "demo", int(2e6 * options.megabytes))
            places = [Path(folder) / "demo"]
        cut, whole = gathered(places, int(options.megabytes * 1e6), int(options.whole * 1e6))
    poor = 0
    for title, texts in (("passages", cut), ("whole texts", whole)):
        theirs, seconds = reference(texts, options.python)
        ours(texts[:2])  # compiles
        mine, taken = ours(texts)
        found = agreement(theirs, mine)
        size = sum(len(text.encode()) for text in texts) / 1e6
        four = sum(seconds[name] for name in ("gopher_repetition", "gopher_quality", "c4_fineweb", "edited_fineweb"))
        print(f"\n### {len(texts):,} {title}, {size:.1f} MB\n\n{table(found)}\n")
        print(
            f"datatrove's four filters {size / four:.2f} MB/s, here {size / taken:.1f} MB/s: {four / taken:.0f} times"
        )
        for name, one in found.items():
            poor += one.equal < 0.995 * one.n
            poor += sum(both < 0.99 * either for said, both, either in one.reasons.values() if said >= 50)
            for i in one.different[: options.show]:
                print(f"--- {name}: {theirs[i][name]} / {mine[i][name]}\n{json.dumps(texts[i])[:6000]}")
    return 1 if poor else 0


if __name__ == "__main__":
    sys.exit(main())
