"""The windows of a shard set as samples of tensors, by rank and worker, from any place in an epoch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from curate.base.errors import RequestError
from curate.shards import index
from curate.shards.denoise import Mixture, window_key
from curate.shards.index import (
    ATTENTIONS,
    NO_LABEL,
    STATE_VERSION,
    Attention,
    batch,
    check_state,
    denoised_sample,
    padded,
    parse_index,
    sample,
)
from curate.storage.interface import StorageOptions
from curate.storage.open import open_storage

_SHARD = re.compile(r"^(?:(set-\d+)/)?parquet/shard-\d+\.parquet$")
_COLUMNS = ["window", "input_ids", "cu_seqlens"]
_ORIGIN = ["doc_ids", "copies", "starts"]
_TARGETS = "target_starts"

Slices = list[list[index.Range]]
_Item = TypeVar("_Item")


class _Shard(NamedTuple):
    url: str
    name: str
    windows: int


class _Set(NamedTuple):
    """The Parquet shards of one or more finished sets."""

    shards: list[_Shard]
    size: int
    pad_id: int
    vocab_size: int
    denoised: bool
    fingerprint: str


def _open_set(urls: Sequence[str]) -> _Set:
    """Read the index of each set.

    Raises:
        RequestError: a folder has no index, no Parquet shards, or several sets; or the sets do not fit together.
    """
    shards: list[_Shard] = []
    heads, longest = [], 0
    fingerprint = hashlib.blake2b(digest_size=16)
    for url in urls:
        try:
            content = open_storage(url, StorageOptions.from_environment()).read("index.json")
        except FileNotFoundError:
            raise RequestError(
                f"{url} has no index.json; give the folder of a finished shard set (`shards.path` of the recipe)"
            ) from None
        fingerprint.update(content)
        index = parse_index(content, url)
        matches = [(entry, _SHARD.match(entry["name"])) for entry in index["files"]]
        found = [(entry, match[1] or "") for entry, match in matches if match]
        folders = sorted({folder for _, folder in found})
        if not found:
            raise RequestError(f"{url} has no Parquet shards; add `parquet` to `shards.formats` and run again")
        if len(folders) > 1:
            raise RequestError(f"{url} holds several sets; give the folder of one: {url}/{folders[0]}, …")
        shards += [_Shard(url, entry["name"], entry["windows"]) for entry, _ in found]
        sizes = {int(entry["window"]) for entry in index.get("sets", [index])}
        tokenizer, denoised = index["tokenizer"], index.get("denoised", False)
        # the longest denoised window of each generation is another, and batches are as wide as their longest
        heads.append((tokenizer["eos_id"] or 0, tokenizer["vocab_size"], denoised, 0 if denoised else max(sizes)))
        longest = max(longest, *sizes)
    if len(set(heads)) != 1:
        raise RequestError(f"the sets at {', '.join(urls)} differ in window or tokenizer; read them apart")
    return _Set(shards, longest, *heads[0][:3], fingerprint.hexdigest())


class _Block(NamedTuple):
    """Windows of one row group that a reader needs, ``rows`` in their order, with the ordinal of the first."""

    shard: int
    first: int
    rows: NDArray[np.int64]
    columns: dict[str, tuple[NDArray[Any], NDArray[np.int64]]]

    def values(self, name: str, row: int) -> NDArray[Any]:
        """One row's list of a column."""
        values, offsets = self.columns[name]
        return values[offsets[row] : offsets[row + 1]]


class ShardDataset(IterableDataset):
    """The windows of a shard set as samples of tensors.

    Each sample has ``input_ids``, ``labels``, ``position_ids`` (int64[L]), ``segment_ids`` (int32[L], 0 at padding),
    ``cu_seqlens`` (int32[S+1]), and as integers ``ordinal`` (its place in the epoch), ``shard`` (from 0 in the set) and
    ``window`` (in its shard). Windows are filled up to L with the end-of-text token, which is no label there;
    :mod:`curate.shards.index` says what labels and positions are. With a denoiser, and of windows that are denoised
    already, samples are longer than L and of different lengths: :meth:`collate` fills them up.

    Args:
        urls: folder of a finished set, local or ``s3://``, or several whose windows and tokenizer are the same; or the
            folder ``denoised`` in such a set, whose examples are segments and whose targets alone are labels.
        rank, world_size: this process among those that train; by default those of ``torch.distributed`` if it runs.
        seed: the order of each epoch is drawn by it.
        shuffle: False reads the set in its own order (which is shuffled already).
        attention: ``document`` or ``window``; what a token may see.
        even: leave out the last windows of the epoch, fewer than ``world_size``, so that all ranks have as many.
        denoiser: transform of each window; its choices are drawn by seed, epoch, shard and window.
        origin: samples also have ``doc_ids`` (as int64 with the same bits), ``copies`` and ``starts`` of the segments.

    Raises:
        RequestError: the folder is no finished set with Parquet shards, or an argument is wrong.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        rank: int | None = None,
        world_size: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        attention: Attention = "document",
        even: bool = False,
        denoiser: Mixture | None = None,
        origin: bool = False,
    ) -> None:
        super().__init__()
        running = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if running else 0
        self.world_size = world_size or (torch.distributed.get_world_size() if running else 1)
        if not 0 <= self.rank < self.world_size:
            raise RequestError(f"rank {self.rank} is not one of {self.world_size} ranks, which are numbered from 0")
        if attention not in ATTENTIONS:
            raise RequestError(f"attention {attention!r} is unknown; give one of: {', '.join(ATTENTIONS)}")
        self.seed, self.shuffle, self.even = seed, shuffle, even
        self.attention, self.denoiser, self.origin = attention, denoiser, origin
        self._set = _open_set([urls] if isinstance(urls, str) else list(urls))
        self.windows = sum(shard.windows for shard in self._set.shards)
        """Windows of the whole set."""
        if denoiser is not None and self._set.denoised:
            raise RequestError(
                "the windows of this set are denoised already; leave `denoiser` out, or read the set itself"
            )
        reserved = [] if denoiser is None else [*denoiser.modes.values(), *denoiser.sentinels]
        if self._set.pad_id in reserved:
            raise RequestError(f"the denoiser uses token {self._set.pad_id}, which ends documents in this set")
        self.epoch = 0
        self._slices: Slices | None = None  # what is left of this rank's part; None is all of it
        self._worker: tuple[int, int] | None = None  # whose part a state was of, when a worker stated it
        self._here: list[index.Range] | None = None  # what is left where this very object is iterated
        self._by_loader = False

    @property
    def size(self) -> int:
        """Tokens of a window, L; of denoised windows, of the longest."""
        return self._set.size

    @property
    def pad_id(self) -> int:
        """The token that windows are filled up with: end of text."""
        return self._set.pad_id

    # --- where in the epoch

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; the present one stays where it is."""
        if epoch != self.epoch:
            self.epoch, self._slices, self._worker, self._here, self._by_loader = epoch, None, None, None, False

    def remaining(self) -> int:
        """Windows of this rank that have not been taken in this epoch."""
        return sum(index.size(part) for part in self._left())

    def _left(self) -> Slices:
        if self._here is not None and not self._by_loader:
            return [self._here]
        if self._slices is not None:
            return self._slices
        whole = self.windows - self.windows % self.world_size if self.even else self.windows
        return [index.part([(0, whole)], self.rank, self.world_size)]

    def _slices_of(self, workers: int) -> Slices:
        """The ranges of each worker: as they were, or what is left divided anew when the number of workers is another."""
        if self._worker is not None:
            raise RequestError(f"the state is of worker {self._worker[0]} of {self._worker[1]}, not of the whole rank")
        left = self._left()
        if len(left) == workers:
            return [list(part) for part in left]
        ranges = index.joined(one for part in left for one in part)
        return [index.part(ranges, worker, workers) for worker in range(workers)]

    def begin(self, workers: int) -> None:
        """Say that ``workers`` processes will read, of which :meth:`advance` is told: what :class:`ShardLoader` does."""
        self._slices, self._here, self._worker, self._by_loader = self._slices_of(workers), None, None, True

    def advance(self, ordinals: Iterable[int]) -> None:
        """Note that the samples with these ordinals were taken: those of one batch, in order.

        Raises:
            ValueError: they are not the next ones of a worker.
        """
        taken = [int(ordinal) for ordinal in ordinals]
        for worker, left in enumerate(self._slices or []):
            ahead = index.between(left, 0, len(taken))
            if left and left[0][0] == taken[0] and [i for a, b in ahead for i in range(a, b)] == taken:
                rest = index.between(left, len(taken), index.size(left))
                parts = self._slices or []
                # the next worker's turn comes first, so that a resumed loader goes on in the same order
                self._slices = [*parts[worker + 1 :], *parts[:worker], rest]
                return
        raise ValueError(f"ordinal {taken[0]} is not the next one of a worker")

    def state_dict(self) -> dict[str, Any]:
        """What has not been taken yet, and of what: JSON values. The state of one rank, of all its workers."""
        info = get_worker_info()
        return {
            "version": STATE_VERSION,
            "set": self._set.fingerprint,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "epoch": self.epoch,
            "rank": self.rank,
            "world_size": self.world_size,
            "worker": [info.id, info.num_workers] if info else None,
            "left": [[list(one) for one in part] for part in self._left()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken: with as many workers and the same batches in the same order.

        With another number of workers what is left is divided anew: each window still comes exactly once, in another
        order. With another number of ranks give the states of all ranks, joined by :func:`merge_states`.

        Raises:
            RequestError: the state is of another set, seed, order or rank.
        """
        check_state(state)
        mine = {"set": self._set.fingerprint, "seed": self.seed, "shuffle": self.shuffle}
        for name, value in mine.items():
            if state.get(name) != value:
                raise RequestError(f"the state is of another {name} ({state.get(name)}, here {value})")
        left = [[(int(a), int(b)) for a, b in part] for part in state["left"]]
        if state["rank"] is None:
            left = [index.part(index.joined(one for part in left for one in part), self.rank, self.world_size)]
        elif (state["rank"], state["world_size"]) != (self.rank, self.world_size):
            raise RequestError(
                f"the state is of rank {state['rank']} of {state['world_size']}, this is rank {self.rank} of "
                f"{self.world_size}; join the states of all ranks by curate.torch.merge_states"
            )
        self.epoch, self._slices, self._here = state["epoch"], left, None
        self._worker = (state["worker"][0], state["worker"][1]) if state["worker"] else None

    # --- reading

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        if self._worker == (worker, workers):
            mine = self._left()[0]  # a loader that keeps the state of each worker hands it its own
        else:
            mine = self._slices_of(workers)[worker]
        self._here = mine
        for block in _ahead(self._blocks(mine)):
            for i, row in enumerate(block.rows.tolist()):
                made = self._sample(block, row)
                self._here = index.between(self._here, 1, index.size(self._here))
                yield {**made, "ordinal": block.first + i, "shard": block.shard}
        if not info and not self._by_loader:
            self._here = self._slices = None  # the next loop is a whole epoch

    def _blocks(self, ranges: Sequence[index.Range]) -> Iterator[_Block]:
        order = index.shard_order(self.seed, self.epoch, [shard.windows for shard in self._set.shards], self.shuffle)
        names = [*_COLUMNS, *([_TARGETS] if self._set.denoised else []), *(_ORIGIN if self.origin else [])]
        for start, stop in ranges:
            first = int(np.searchsorted(order.offsets, start, side="right")) - 1
            last = int(np.searchsorted(order.offsets, stop, side="left"))
            for place in range(first, last):
                number, at = int(order.shards[place]), int(order.offsets[place])
                shard = self._set.shards[number]
                storage = open_storage(shard.url, StorageOptions.from_environment())
                with storage.open(shard.name) as source:
                    file = pq.ParquetFile(source, pre_buffer=True)
                    groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                    if sum(groups) != shard.windows:
                        raise RequestError(
                            f"{shard.url}/{shard.name} holds {sum(groups):,} windows, its index says {shard.windows:,}"
                        )
                    for group, rows in index.window_order(self.seed, self.epoch, number, groups, self.shuffle):
                        a, b = max(start - at, 0), min(stop - at, len(rows))
                        if a < b:
                            table = file.read_row_group(group, columns=names, use_threads=False)
                            yield _Block(number, at + a, rows[a:b], {name: _lists(table[name]) for name in names})
                        at += len(rows)

    def _sample(self, block: _Block, row: int) -> dict[str, Any]:
        window = int(block.values("window", row)[0])
        tokens, bounds = block.values("input_ids", row), block.values("cu_seqlens", row)
        lengths = np.asarray(np.diff(bounds.astype(np.int64)), np.int64)
        if self.denoiser:
            key = window_key(self.seed, self.epoch, block.shard, window)
            arrays = denoised_sample(tokens, lengths, key, self.denoiser, self.attention)
        else:
            arrays = sample(tokens, lengths, self.attention)
            if self._set.denoised:
                first = block.values(_TARGETS, row).astype(np.int64)
                arrays["labels"][np.arange(len(tokens)) < np.repeat(first, lengths)] = NO_LABEL
            elif not self._by_loader:  # else collation fills up, with one copy less
                arrays = padded(arrays, self.size, self.pad_id)
        found: dict[str, Any] = {name: torch.from_numpy(values) for name, values in arrays.items()}
        for name in _ORIGIN if self.origin else []:
            found[name] = torch.from_numpy(block.values(name, row).astype(np.int64))
        return {**found, "window": window}

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """One batch: rows stacked and filled up to the longest; ``cu_seqlens`` over the rows laid end to end, in which
        the padding of a row is a sequence of its own; ``max_seqlen``; ``ordinal``, ``shard``, ``window`` (int64[B]).
        Origins are lists with a tensor a row."""
        numbers = ("ordinal", "shard", "window")
        arrays = [
            {name: one[name].numpy() for name in one if name not in numbers and name not in _ORIGIN} for one in samples
        ]
        made = batch(arrays, self.pad_id, 0 if self.denoiser or self._set.denoised else self.size)
        found: dict[str, Any] = {
            name: torch.from_numpy(values) for name, values in made.items() if name != "max_seqlen"
        }
        found["max_seqlen"] = int(made["max_seqlen"])
        found |= {name: torch.tensor([one[name] for one in samples]) for name in numbers}
        return found | {name: [one[name] for one in samples] for name in _ORIGIN if name in samples[0]}


def _lists(column: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(values, offsets) of a list column; a plain one has one value a row."""
    array = column.combine_chunks()
    if not hasattr(array, "offsets"):
        return np.asarray(array), np.arange(len(array) + 1)
    return np.asarray(array.values), np.asarray(array.offsets, np.int64)


def _ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The items, the next one being made by a thread while one is in use."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item


class ShardLoader:
    """Batches of a dataset from any number of workers, and the place in the epoch that goes with what was handed out.

    A loop over it is what is left of the present epoch; at its end the next epoch begins. :meth:`state_dict` may be
    taken between any two batches: batches that workers have made, but that were not handed out, come again.

    Args:
        dataset: what to read; the loader keeps its place.
        batch_size: windows of a batch. At the end of the epoch each worker has a smaller one, unless the number of its
            windows can be divided by it or ``drop_last`` leaves it out.
        num_workers: processes that read; 0 reads in this one.
        options: further ones of ``torch.utils.data.DataLoader``.
    """

    def __init__(self, dataset: ShardDataset, batch_size: int, num_workers: int = 0, **options: Any) -> None:
        if options.get("persistent_workers"):
            raise RequestError("persistent workers would not learn of the next epoch; leave `persistent_workers` out")
        self.dataset = dataset
        self._options = {"collate_fn": dataset.collate, "batch_size": batch_size, "num_workers": num_workers, **options}

    @property
    def epoch(self) -> int:
        """The present epoch, from 0."""
        return self.dataset.epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.dataset.begin(max(1, self._options["num_workers"]))
        for found in DataLoader(self.dataset, **self._options):
            self.dataset.advance(found["ordinal"].tolist())
            yield found
        self.dataset.set_epoch(self.dataset.epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """As :meth:`ShardDataset.state_dict`: everything but the batches that were handed out."""
        return self.dataset.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As :meth:`ShardDataset.load_state_dict`."""
        self.dataset.load_state_dict(state)


def merge_states(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One state for any number of ranks, from those of all ranks: what none of them has taken.

    Raises:
        RequestError: the states are not those of every rank of one job in one epoch.
    """
    heads = {json.dumps({**state, "rank": None, "worker": None, "left": None}, sort_keys=True) for state in states}
    ranks = sorted(state["rank"] if state["rank"] is not None else -1 for state in states)
    if len(heads) != 1 or ranks != list(range(states[0]["world_size"])):
        raise RequestError("give the states of every rank of one job, all of the same epoch")
    left = index.joined((a, b) for state in states for part in state["left"] for a, b in part)
    return {**states[0], "rank": None, "worker": None, "left": [[list(one) for one in left]]}
