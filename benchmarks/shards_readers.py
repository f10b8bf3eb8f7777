"""One reader over the shards that ``benchmarks/shards.py`` wrote: tokens a second and memory, as JSON.

    python benchmarks/shards_readers.py READER FOLDER WORKERS        (in .venv-consumers)

The first batch is not timed: with it come imports, workers and the first file.
"""

from __future__ import annotations

import glob
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from multiprocessing import active_children

import numpy as np
import torch
from torch.utils.data import DataLoader

BATCH = 8
warnings.filterwarnings("ignore")


def collate(samples: list[np.ndarray]) -> torch.Tensor:
    """Rows of int64 ids, filled up to the longest with 0."""
    rows = torch.zeros((len(samples), max(map(len, samples))), dtype=torch.int64)
    for row, ids in zip(rows, samples, strict=True):
        row[: len(ids)] = torch.from_numpy(np.asarray(ids).astype(np.int64))
    return rows


def ids_of(name: str) -> object:
    """Collation of samples that keep their ids under ``name``."""
    return lambda samples: collate([sample[name] for sample in samples])


def curate(folder: str, workers: int, **options: object) -> Iterable[torch.Tensor]:
    """curate.torch: ids, labels, positions, segments and bounds."""
    from curate.torch import ShardDataset, ShardLoader

    for batch in ShardLoader(ShardDataset(folder, **options), BATCH, workers):
        yield batch["input_ids"]


def curate_denoised(folder: str, workers: int) -> Iterable[torch.Tensor]:
    """curate.torch with the mixture of denoisers."""
    from curate.shards.denoise import Mixture

    return curate(folder, workers, denoiser=Mixture.above(32_000))


def streaming(folder: str, workers: int) -> Iterable[torch.Tensor]:
    """MosaicML StreamingDataset, shuffled."""
    from streaming import StreamingDataset

    dataset = StreamingDataset(local=f"{folder}/mds", shuffle=True, batch_size=BATCH, num_canonical_nodes=1)
    return DataLoader(dataset, BATCH, num_workers=workers, collate_fn=ids_of("input_ids"))


def datasets(folder: str, workers: int) -> Iterable[torch.Tensor]:
    """Hugging Face datasets, streamed from Parquet, the id column alone."""
    from datasets import load_dataset

    files = sorted(glob.glob(f"{folder}/parquet/*.parquet"))
    with tempfile.TemporaryDirectory() as cache:
        rows = load_dataset(
            "parquet", data_files=files, split="train", streaming=True, columns=["input_ids"], cache_dir=cache
        )
        yield from DataLoader(rows.with_format("numpy"), BATCH, num_workers=workers, collate_fn=ids_of("input_ids"))


def olmo_core(folder: str, workers: int) -> Iterable[torch.Tensor]:
    """OLMo-core NumpyFSLDataset and its loader, shuffled."""
    from olmo_core.data import DataCollator, NumpyFSLDataset
    from olmo_core.data.data_loader import NumpyFSLDataLoader

    paths = sorted(glob.glob(f"{folder}/numpy/*.npy"))
    size = int(np.load(paths[0].replace(".npy", ".npz"))["size"])
    with tempfile.TemporaryDirectory() as work:
        dataset = NumpyFSLDataset(*paths, sequence_length=size, pad_token_id=0, eos_token_id=0, vocab_size=32_000)
        dataset.work_dir = work
        dataset.prepare()
        loader = NumpyFSLDataLoader(
            dataset,
            collator=DataCollator(pad_token_id=0),
            global_batch_size=BATCH * size,
            work_dir=work,
            num_workers=workers,
        )
        loader.reshuffle(epoch=1)
        for batch in loader:
            yield batch["input_ids"]


def webdataset(folder: str, workers: int) -> Iterable[torch.Tensor]:
    """webdataset, shuffled in a buffer of 500."""
    import webdataset as library

    files = sorted(glob.glob(f"{folder}/webdataset/*.tar"))
    rows = library.WebDataset(files, shardshuffle=100).shuffle(500).decode()
    return DataLoader(rows, BATCH, num_workers=workers, collate_fn=ids_of("input_ids.npy"))


READERS = {
    "curate": (curate, "Parquet"),
    "curate, denoised": (curate_denoised, "Parquet"),
    "streaming": (streaming, "MDS"),
    "datasets": (datasets, "Parquet"),
    "olmo_core": (olmo_core, "NumPy"),
    "webdataset": (webdataset, "WebDataset"),
}


def peak(pid: int | None) -> float:
    """Most memory that a process has had resident, in MB; unlike ``ru_maxrss`` without that of the one that started it."""
    with open(f"/proc/{pid}/status") as status:
        return (
            next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0) / 1024
        )  # none: it has ended


def main() -> None:
    """Read everything once."""
    name, folder, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    reader, form = READERS[name]
    batches = iter(reader(folder, workers))
    next(batches)
    began, tokens = time.perf_counter(), 0
    memory = 0.0
    for number, batch in enumerate(batches):
        tokens += batch.numel()
        if number % 50 == 0:
            memory = max(memory, *(peak(pid) for pid in (os.getpid(), *(one.pid for one in active_children()))))
    taken = time.perf_counter() - began
    print(json.dumps({"speed": tokens / taken, "format": form, "memory": memory}))


if __name__ == "__main__":
    main()
