"""datatrove's four MinHash stages over IN.jsonl, in datatrove's environment; writes OUT/kept.txt, prints seconds as JSON.

python run_datatrove.py IN.jsonl OUT CORES NGRAM BANDS ROWS THRESHOLD    (the threshold is not used: it has no verification)
"""

import gzip
import json
import os
import sys
import time
from pathlib import Path

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import load_word_tokenizer


def main() -> None:
    source, out, cores = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    ngram, bands, rows = (int(value) for value in sys.argv[4:7])
    folder = out / "input"
    folder.mkdir(parents=True)
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    for task in range(cores):  # one file a task; splitting is aside
        (folder / f"{task:02d}.jsonl").write_text("".join(lines[task::cores]), encoding="utf-8")
    config = MinhashConfig(
        hash_config=HashConfig(precision=64), num_buckets=bands, hashes_per_bucket=rows, n_grams=ngram
    )
    load_word_tokenizer("en").word_tokenize("spaCy is loaded aside.")

    def reader() -> JsonlReader:
        return JsonlReader(str(folder))

    signatures, buckets, remove, kept = (str(out / name) for name in ("signatures", "buckets", "remove", "kept"))
    pipelines = {
        "signatures": ([reader(), MinhashDedupSignature(signatures, config=config, language="en")], cores),
        "buckets": ([MinhashDedupBuckets(signatures, buckets, config=config)], bands),
        "cluster": ([MinhashDedupCluster(buckets, remove, config=config)], 1),
        "filter": ([reader(), MinhashDedupFilter(remove), JsonlWriter(kept)], cores),
    }
    steps = {}
    cpu = sum(os.times()[:4])
    for name, (pipeline, tasks) in pipelines.items():
        began = time.perf_counter()
        LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=min(cores, tasks), logging_dir=str(out / "logs" / name)
        ).run()
        steps[name] = time.perf_counter() - began
    cpu = sum(os.times()[:4]) - cpu
    ids = []
    for path in sorted(Path(kept).glob("*.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            ids += [json.loads(line)["id"] for line in file]
    (out / "kept.txt").write_text("\n".join(ids))
    print(json.dumps({"seconds": sum(steps.values()), "cpu": cpu, "steps": steps, "kept": len(ids)}))


if __name__ == "__main__":
    main()
