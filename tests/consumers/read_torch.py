"""Reads a shard set with curate.torch and prints as JSON what came, in the environment of requirements.txt.

``python read_torch.py SCENARIO URL [STATE]``: each function below is a scenario; STATE is the JSON of a state.
"""

import hashlib
import json
import sys
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

from curate.base.errors import RequestError
from curate.shards.denoise import Mixture, restore
from curate.torch import SetsLoader, ShardDataset, ShardLoader, merge_states

warnings.filterwarnings("error")
warnings.filterwarnings("ignore", "This DataLoader will create")  # more than this machine has cores
warnings.filterwarnings("ignore", "'set_vital' is deprecated")  # in torchdata
ROWS = ("input_ids", "labels", "position_ids", "segment_ids")
BATCH = 3


def array_hash(values):
    return hashlib.blake2b(np.asarray(values, np.int64).tobytes(), digest_size=16).hexdigest()


def places(batch):
    return [list(place) for place in zip(*(batch[name].tolist() for name in ("shard", "window")), strict=True)]


def loader(url, workers=2, batch_size=BATCH, **options):
    return ShardLoader(ShardDataset(url, **options), batch_size, workers)


def contents(url):
    """Everything of every batch, for each attention, by rank and epoch."""
    found = []
    for attention in ("document", "window"):
        for rank in range(2):
            reading = loader(url, rank=rank, world_size=2, attention=attention)
            for epoch in range(2):
                assert reading.epoch == epoch
                for batch in reading:
                    rows = [[array_hash(batch[name][i]) for name in ROWS] for i in range(len(batch["ordinal"]))]
                    one = {"places": places(batch), "rows": rows, "cu_seqlens": batch["cu_seqlens"].tolist()}
                    kinds = [str(batch[name].dtype) for name in (*ROWS, "cu_seqlens")]
                    found.append({"attention": attention, "rank": rank, "epoch": epoch, "kinds": kinds, **one})
    return found


def resumed(url):
    """Whole epochs, and epochs that were stopped and resumed in several ways."""
    found = {}
    found["whole"] = [places(batch) for batch in loader(url, seed=5)]
    first = loader(url, seed=5)
    before = [places(batch) for batch in islice(first, 4)]
    state = json.loads(json.dumps(first.state_dict()))
    for workers in (2, 0, 3):
        second = loader(url, workers, seed=5)
        second.load_state_dict(state)
        found[f"workers {workers}"] = before + [places(batch) for batch in second]
        assert second.epoch == 1
    found["same object"] = before + [places(batch) for batch in first]

    direct = ShardDataset(url, seed=5)
    head = [[one["shard"], one["window"]] for one in islice(direct, 7)]
    other = ShardDataset(url, seed=5)
    other.load_state_dict(json.loads(json.dumps(direct.state_dict())))
    found["without a loader"] = [head, [[one["shard"], one["window"]] for one in other]]
    found["without a loader, whole"] = [[one["shard"], one["window"]] for one in other]

    stopped, states = [], []
    for rank in range(3):
        reading = loader(url, 2, seed=5, rank=rank, world_size=3)
        stopped += [places(batch) for batch in islice(reading, rank + 1)]
        states.append(reading.state_dict())
    for rank in range(2):
        reading = loader(url, 1, seed=5, rank=rank, world_size=2)
        reading.load_state_dict(json.loads(json.dumps(merge_states(states))))
        stopped += [places(batch) for batch in reading]
    found["other ranks"] = stopped
    even = [loader(url, 2, rank=rank, world_size=4, even=True) for rank in range(4)]
    found["even"] = [[places(batch) for batch in reading] for reading in even]
    return found


def sets(url):
    """All training sets below a folder: two epochs, one that was stopped and resumed, and those of two ranks."""
    tokens = 512

    def batches(reading):
        return [[batch["set"], places(batch), list(batch["input_ids"].shape)] for batch in reading]

    whole = SetsLoader(url, tokens, seed=5)
    found = {"whole": batches(whole), "second": batches(whole), "epoch": whole.epoch}
    found["resumed"] = []
    for stop in (0, 3, len(found["whole"]) // 2, len(found["whole"]) - 1, len(found["whole"])):
        first = SetsLoader(url, tokens, seed=5)
        before = batches(islice(first, stop))
        state = json.loads(json.dumps(first.state_dict()))
        second = SetsLoader(url, tokens, seed=5)
        second.load_state_dict(state)
        left = second.remaining()
        after = batches(second)
        found["resumed"].append([before + after, left, sum(len(one[1]) for one in after)])
    found["ranks"] = [batches(SetsLoader(url, tokens, seed=5, rank=r, world_size=2, even=True)) for r in range(2)]
    found["sets"] = whole.sets
    return found


def stateful(url):
    """torchdata's loader, which keeps the state of the dataset in each worker."""

    def made():
        dataset = ShardDataset(url, seed=6)
        return StatefulDataLoader(dataset, batch_size=BATCH, num_workers=2, collate_fn=dataset.collate)

    whole = [places(batch) for batch in made()]
    first = made()
    before = [places(batch) for batch in islice(first, 5)]
    second = made()
    second.load_state_dict(first.state_dict())
    return {"whole": whole, "interrupted": before + [places(batch) for batch in second]}


def denoised(url):
    """Windows with the denoiser, and what its inverse makes of them."""
    mixture = Mixture.above(70_000, length=20)
    found = []
    for workers in (0, 2):
        dataset = ShardDataset(url, denoiser=mixture, seed=3, origin=True)
        rows = []
        for batch in ShardLoader(dataset, BATCH, workers):
            for i, place in enumerate(places(batch)):
                n = int((batch["segment_ids"][i] > 0).sum())
                ids = batch["input_ids"][i][:n].numpy()
                labels = batch["labels"][i][:n].numpy()
                assert ((labels == -100) | (labels == ids)).all()
                window = array_hash(restore(ids, mixture))
                rows.append([place, array_hash(ids), window, batch["doc_ids"][i].numpy().view(np.uint64).tolist()])
        found.append(sorted(rows))
    return found


def denoised_files(url):
    """Windows of the set and its denoised ones, restored, each at its place; and the sets by their loader."""
    index = json.loads(Path(url, "index.json").read_text())
    mixture = Mixture.above(index["tokenizer"]["vocab_size"], index["denoise"]["length"])
    plain, after = {}, {}
    for one in ShardDataset(url, shuffle=False):
        n = int((one["segment_ids"] > 0).sum())
        plain[f"{one['shard']}-{one['window']}"] = array_hash(one["input_ids"][:n])
    targets = 0
    for workers in (0, 2):
        for batch in ShardLoader(ShardDataset(f"{url}/denoised", seed=3), BATCH, workers):
            for i, (shard, window) in enumerate(places(batch)):
                n = int((batch["segment_ids"][i] > 0).sum())
                ids, labels = batch["input_ids"][i][:n].numpy(), batch["labels"][i].numpy()
                is_target = np.zeros(len(labels), bool)
                first = np.flatnonzero(ids == mixture.sentinels[0])[1::2]
                ends = np.append(np.flatnonzero(np.isin(ids, list(mixture.modes.values())))[1:], n)
                for start, end in zip(first, ends, strict=True):
                    is_target[start:end] = True
                assert (labels[is_target] == batch["input_ids"][i].numpy()[is_target]).all()
                assert (labels[~is_target] == -100).all()
                targets += int(is_target.sum())
                after.setdefault(f"{shard}-{window}", []).append(array_hash(restore(ids, mixture)))
    loader = SetsLoader(url, 2048, denoised=True)
    counts = [len(batch["ordinal"]) for batch in loader]

    def message(call):
        try:
            call()
        except RequestError as error:
            return str(error)
        return "nothing"

    twice = message(lambda: ShardDataset(f"{url}/denoised", denoiser=mixture))
    without = message(lambda: SetsLoader(f"{url}-plain", 2048, denoised=True))
    found = {"plain": plain, "after": after, "targets": targets, "by sets": sum(counts), "twice": twice}
    return {**found, "window": loader.sets[0]["window"], "without": without}


def refused(url):
    """Messages of wrong requests."""
    dataset = ShardDataset(url)
    states = [ShardDataset(url, rank=rank, world_size=2).state_dict() for rank in range(2)]

    def message(call):
        try:
            call()
        except (RequestError, ValueError) as error:
            return str(error)
        return "nothing"

    dataset.begin(2)
    return {
        "no set": message(lambda: ShardDataset(f"{url}/parquet")),
        "several sets": message(lambda: ShardDataset(f"{url}/two")),
        "rank": message(lambda: ShardDataset(url, rank=2, world_size=2)),
        "attention": message(lambda: ShardDataset(url, attention="none")),
        "seed": message(lambda: dataset.load_state_dict(ShardDataset(url, seed=1).state_dict())),
        "other rank": message(lambda: dataset.load_state_dict(states[0])),
        "not all": message(lambda: merge_states(states[:1])),
        "not next": message(lambda: dataset.advance([5])),
        "persistent": message(lambda: ShardLoader(dataset, 1, 1, persistent_workers=True)),
        "denoiser": message(lambda: ShardDataset(url, denoiser=Mixture.above(0))),
    }


def training(url, state=None):
    """A job: prints a line for each batch, with its windows and the state after it, until it is killed or done."""
    reading = loader(url, seed=8)
    if state:
        reading.load_state_dict(json.loads(state))
    for batch in reading:
        print(json.dumps({"places": places(batch), "state": reading.state_dict()}), flush=True)
    return None


def light(url):
    """What was imported for reading."""
    next(iter(ShardDataset(url)))
    return sorted(set(sys.modules) & {"ray", "numba", "polars", "pydantic", "scipy"})


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
