"""text-dedup's MinHash over IN.jsonl, in its environment; writes OUT/kept.txt, prints seconds as JSON.

python run_textdedup.py IN.jsonl OUT CORES NGRAM BANDS ROWS THRESHOLD
"""

import json
import os
import sys
import time
from pathlib import Path

from datasets import load_from_disk
from text_dedup.minhash import main as minhash


def main() -> None:
    source, out, cores = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    ngram, bands, rows, threshold = sys.argv[4:8]
    out.mkdir(parents=True)
    options = {
        "path": "json",
        "data_files": source,
        "split": "train",
        "cache_dir": str(out / "cache"),
        "output": str(out / "kept"),
        "column": "text",
        "batch_size": "1000",
        "num_proc": cores,
        "threshold": threshold,
        "ngram": ngram,
        "num_perm": str(int(bands) * int(rows)),
        "b": bands,
        "r": rows,
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    minhash(arguments, standalone_mode=False)
    seconds, cpu = time.perf_counter() - began, sum(os.times()[:4]) - cpu
    ids = load_from_disk(str(out / "kept"))["id"]
    (out / "kept.txt").write_text("\n".join(str(one) for one in ids))
    print(json.dumps({"seconds": seconds, "cpu": cpu, "steps": {}, "kept": len(ids)}))


if __name__ == "__main__":
    main()
