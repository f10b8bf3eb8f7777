"""Data-Juicer's document_minhash_deduplicator over IN.jsonl, in its environment; writes OUT/kept.txt, prints seconds as JSON.

python run_datajuicer.py IN.jsonl OUT CORES NGRAM BANDS ROWS THRESHOLD
"""

import json
import os
import sys
import time
from pathlib import Path

from data_juicer.config import init_configs
from data_juicer.core import DefaultExecutor


def main() -> None:
    source, out, cores = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    ngram, bands, rows = (int(value) for value in sys.argv[4:7])
    out.mkdir(parents=True)
    operator = {
        "tokenization": "space",
        "window_size": ngram,
        "num_permutations": bands * rows,
        "num_bands": bands,
        "num_rows_per_band": rows,
        "jaccard_threshold": float(sys.argv[7]),
        "lowercase": True,
    }
    recipe = {
        "project_name": "peer",
        "dataset_path": str(source),
        "export_path": str(out / "kept.jsonl"),
        "work_dir": str(out / "work"),
        "np": cores,
        "open_tracer": False,
        "use_cache": False,
        "process": [{"document_minhash_deduplicator": operator}],
    }
    (out / "recipe.yaml").write_text(json.dumps(recipe))
    executor = DefaultExecutor(init_configs(["--config", str(out / "recipe.yaml")]))
    began, cpu = time.perf_counter(), sum(os.times()[:4])
    executor.run()
    seconds, cpu = time.perf_counter() - began, sum(os.times()[:4]) - cpu
    with (out / "kept.jsonl").open(encoding="utf-8") as file:
        ids = [json.loads(line)["id"] for line in file]
    (out / "kept.txt").write_text("\n".join(str(one) for one in ids))
    result = {"seconds": seconds, "cpu": cpu, "steps": {}, "kept": len(ids)}
    print(json.dumps(result), file=sys.__stdout__, flush=True)  # its logger has taken sys.stdout


if __name__ == "__main__":
    main()
