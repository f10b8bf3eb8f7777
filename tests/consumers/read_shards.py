"""Reads a folder of shards with the trainers' own libraries and prints as JSON what each of them saw.

Runs in the environment of requirements.txt, which has no curate: ``python read_shards.py FOLDER SCRATCH DTYPE``. A window is
reported as the hash of its token ids, so that the test can compare it with the windows that were written.
"""

import glob
import hashlib
import json
import sys
import warnings
from itertools import islice
from types import SimpleNamespace

import numpy as np

warnings.filterwarnings("ignore")


def token_hash(tokens):
    return hashlib.blake2b(np.asarray(tokens, np.int64).tobytes(), digest_size=16).hexdigest()


def described(sample):
    """Everything in a window but its number: tokens, and where they come from."""
    names = ["doc_ids", "copies", "starts", "cu_seqlens", *(["target_starts"] if "target_starts" in sample else [])]
    lists = [np.asarray(sample[name]).tolist() for name in names]
    return {"tokens": token_hash(sample["input_ids"]), "segments": lists}


def read_mds(folder):
    from streaming import StreamingDataset

    def opened(shuffle):
        return StreamingDataset(local=f"{folder}/mds", shuffle=shuffle, batch_size=1, num_canonical_nodes=1)

    dataset = opened(False)
    windows = [
        {**described(dataset[i]), "length": int(dataset[i]["length"]), "indices": dataset[i]["indices"].tolist()}
        for i in range(len(dataset))
    ]
    dtype = dataset[0]["input_ids"].dtype.name
    stopped = opened(True)
    before = [token_hash(sample["input_ids"]) for sample in islice(stopped, len(dataset) // 3)]
    state = stopped.state_dict(len(before), False)
    resumed = opened(True)
    resumed.load_state_dict(state)
    after = [token_hash(sample["input_ids"]) for sample in resumed]
    return {"windows": windows, "dtype": dtype, "interrupted": before + after}


def read_megatron(folder, scratch):
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.indexed_dataset import IndexedDataset
    from megatron.core.datasets.utils import Split

    prefix = f"{folder}/megatron/tokens"
    dataset = IndexedDataset(prefix)
    windows = [token_hash(dataset[i]) for i in range(len(dataset))]
    config = GPTDatasetConfig(
        random_seed=1,
        sequence_length=len(dataset[0]),
        split="1,0,0",
        tokenizer=SimpleNamespace(eod=0, pad=0, vocab_size=1 << 31, unique_identifiers={"class": "none"}),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        path_to_cache=scratch,
    )

    def samples(first):
        # one epoch: a sample is L tokens and one more for the last label, so the last window gives none
        made = GPTDataset(dataset, prefix, np.arange(len(dataset)), len(dataset) - 1, Split.train, config)
        return [token_hash(made[i]["tokens"]) for i in range(first, len(made))]

    return {
        "windows": windows,
        "dtype": np.dtype(dataset.index.dtype).name,
        "documents": len(dataset.document_indices) - 1,
        "trained_on": samples(0),
        "resumed": samples(10),  # a job that goes on at sample 10 builds the dataset anew
    }


def read_parquet(folder, scratch):
    from datasets import load_dataset

    files = sorted(glob.glob(f"{folder}/parquet/*.parquet"))
    dataset = load_dataset("parquet", data_files=files, split="train", cache_dir=scratch)
    streamed = load_dataset("parquet", data_files=files, split="train", streaming=True)
    stopped = iter(streamed)
    before = [token_hash(row["input_ids"]) for row in islice(stopped, len(dataset) // 3)]
    state = json.loads(json.dumps(streamed.state_dict()))
    resumed = load_dataset("parquet", data_files=files, split="train", streaming=True)
    resumed.load_state_dict(state)
    return {
        "windows": [described(row) for row in dataset.with_format("numpy")],
        "streamed": [token_hash(row["input_ids"]) for row in streamed],
        "interrupted": before + [token_hash(row["input_ids"]) for row in resumed],
        "dtype": dataset.features["input_ids"].feature.dtype,
    }


def read_numpy(folder, scratch, kind):
    from olmo_core.data import DataCollator, NumpyFSLDataset
    from olmo_core.data.data_loader import NumpyFSLDataLoader

    paths = sorted(glob.glob(f"{folder}/numpy/*.npy"))
    index = np.load(paths[0].replace(".npy", ".npz"))
    size = int(index["size"])
    masks = sorted(glob.glob(f"{folder}/numpy/*.mask")) or None  # of denoised windows
    dataset = NumpyFSLDataset(
        *paths,
        sequence_length=size,
        pad_token_id=0,
        eos_token_id=0,
        vocab_size=1 << 31,
        dtype=kind,
        label_mask_paths=masks,
    )
    dataset.work_dir = scratch
    dataset.prepare()

    def loader():
        made = NumpyFSLDataLoader(
            dataset, collator=DataCollator(pad_token_id=0), global_batch_size=size, work_dir=scratch, num_workers=2
        )
        made.reshuffle(epoch=1)
        return made

    def hashes(batches):
        return [token_hash(batch["input_ids"][0]) for batch in batches]

    stopped = loader()
    before = hashes(islice(stopped, len(dataset) // 3))
    state = stopped.state_dict()
    whole, resumed = hashes(loader()), loader()
    resumed.load_state_dict(state)
    return {
        "windows": [token_hash(dataset[i]["input_ids"]) for i in range(len(dataset))],
        "targets": masks and [token_hash(dataset[i]["label_mask"]) for i in range(len(dataset))],
        "epoch": whole,
        "interrupted": before + hashes(resumed),
    }


def read_webdataset(folder, scratch):
    import webdataset
    from datasets import load_dataset

    files = sorted(glob.glob(f"{folder}/webdataset/*.tar"))
    samples = webdataset.WebDataset(files, shardshuffle=False).decode()
    found = [
        {"key": sample["__key__"], **described({"input_ids": sample["input_ids.npy"], **sample["segments.json"]})}
        for sample in samples
    ]
    dtype = next(iter(samples))["input_ids.npy"].dtype.name
    rows = load_dataset("webdataset", data_files=files, split="train", streaming=True)
    return {"windows": found, "dtype": dtype, "hugging_face": [token_hash(row["input_ids.npy"]) for row in rows]}


if __name__ == "__main__":
    shards, work, kind = sys.argv[1:4]
    found = {
        "mds": read_mds(shards),
        "megatron": read_megatron(shards, f"{work}/megatron"),
        "parquet": read_parquet(shards, f"{work}/datasets"),
        "webdataset": read_webdataset(shards, f"{work}/datasets"),
        "numpy": read_numpy(shards, f"{work}/olmo", {"uint16": np.uint16, "uint32": np.uint32}[kind]),
    }
    print(json.dumps(found))
