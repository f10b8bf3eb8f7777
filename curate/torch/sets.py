"""Several sets as one sequence of batches: the stages of a curriculum in turn, buckets by their odds, all generations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curate.base.catalog import generation_folder
from curate.base.errors import RequestError
from curate.shards import index
from curate.shards.index import STATE_VERSION, check_state, parse_index
from curate.storage.interface import Storage, StorageOptions
from curate.storage.open import open_storage
from curate.torch.dataset import ShardDataset, ShardLoader


def training_sets(url: str, denoised: bool = False) -> list[dict[str, Any]]:
    """The training sets below a mirrored folder: {set, window, odds, urls}; ``urls`` has one for each generation.

    With ``denoised``, those of their denoised windows; ``window`` is the tokens of the longest then.

    Raises:
        RequestError: the folder has no index.
    """
    storage = open_storage(url, StorageOptions.from_environment())
    sets: dict[int, dict[str, Any]] = {}
    generation = 0
    while True:
        folder = generation_folder(generation)
        try:
            index = parse_index(storage.read(f"{folder}index.json"), f"{url}/{folder}".rstrip("/"))
        except FileNotFoundError:
            break
        entries = index.get("sets", [index])
        for entry in entries:
            if entry["kind"] == "validation" or not entry["windows"]:
                continue
            own = f"set-{entry['set']}" if len(entries) > 1 else ""
            place = "/".join(part.strip("/") for part in (folder, own, "denoised" if denoised else "") if part)
            window = _denoised_window(storage, url, place) if denoised else entry["window"]
            known = {"set": entry["set"], "window": window, "odds": entry.get("odds", 0), "urls": []}
            found = sets.setdefault(entry["set"], known)
            found["window"] = max(found["window"], window)
            found["urls"].append(place)
        generation += 1
    if not sets:
        raise RequestError(f"{url} has no index.json with training windows; give the folder that `shards.path` names")
    base = url.rstrip("/")
    return [
        {**entry, "urls": [f"{base}/{place}".rstrip("/") for place in entry["urls"]]}
        for _, entry in sorted(sets.items())
    ]


def _denoised_window(storage: Storage, url: str, place: str) -> int:
    try:
        return int(parse_index(storage.read(f"{place}/index.json"), f"{url}/{place}")["window"])
    except FileNotFoundError:
        raise RequestError(f"{url} has no denoised windows; set `shards.denoise` and run again") from None


class SetsLoader:
    """Batches of all training sets below a folder, with the place that goes with what was handed out.

    The stages of a curriculum follow each other. Buckets take turns: the one of each step is drawn by hash with the odds
    of ``index.json`` among those that have windows left. Either way every batch is of one set, holds about as many tokens,
    and a loop over the loader is what is left of the present epoch over all sets. The windows of later generations are
    mixed with those of the first. The steps of all ranks draw the same set, so give ``even=True`` with several ranks.

    Args:
        url: the mirrored folder, local or ``s3://``.
        batch_tokens: a batch has ``batch_tokens // window`` windows, at least one.
        num_workers: processes of each set that is being read: buckets are read side by side, so take few.
        drop_last: leave out the last, smaller batches of each set.
        denoised: read the denoised windows of the sets.
        options: of :class:`ShardDataset`.
    """

    def __init__(
        self,
        url: str,
        batch_tokens: int,
        num_workers: int = 0,
        drop_last: bool = False,
        denoised: bool = False,
        **options: Any,
    ) -> None:
        self.sets = training_sets(url, denoised)
        """{set, window, odds, urls} of each set that is read, in the order of the sets."""
        self.loaders = [
            ShardLoader(
                ShardDataset(entry["urls"], **options),
                max(1, batch_tokens // entry["window"]),
                num_workers,
                drop_last=drop_last,
            )
            for entry in self.sets
        ]
        self.epoch = 0
        self._step = 0
        self._done: set[int] = set()

    def remaining(self) -> int:
        """Windows of this rank that have not been handed out in this epoch."""
        return sum(loader.dataset.remaining() for i, loader in enumerate(self.loaders) if i not in self._done)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Batches as :meth:`ShardDataset.collate` makes them, with ``set``, the number of their set."""
        open_: dict[int, Iterator[dict[str, Any]]] = {}
        while len(self._done) < len(self.loaders):
            chosen = self._chosen()
            if chosen not in open_:
                open_[chosen] = iter(self.loaders[chosen])
            batch = next(open_[chosen], None)
            if batch is None:
                self._done.add(chosen)  # its loader is at the next epoch already
                continue
            self._step += 1
            yield {**batch, "set": self.sets[chosen]["set"]}
        self.epoch, self._step = self.epoch + 1, 0
        self._done.clear()

    def _chosen(self) -> int:
        left = [i for i in range(len(self.loaders)) if i not in self._done]
        if not any(self.sets[i]["odds"] for i in left):
            return left[0]
        odds = [self.sets[i]["odds"] if i in left else 0 for i in range(len(self.sets))]
        return index.drawn_set(self.loaders[0].dataset.seed, self.epoch, self._step, odds)

    def state_dict(self) -> dict[str, Any]:
        """What has not been handed out yet, of every set: JSON values. Of one rank."""
        return {
            "version": STATE_VERSION,
            "epoch": self.epoch,
            "step": self._step,
            "done": sorted(self._done),
            "sets": [loader.state_dict() for loader in self.loaders],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; workers may be others, as :meth:`ShardDataset.load_state_dict` says.

        Raises:
            RequestError: the state is of other sets, another seed, order or rank.
        """
        check_state(state)
        if len(state["sets"]) != len(self.loaders):
            raise RequestError(f"the state is not of these {len(self.loaders)} sets")
        for loader, own in zip(self.loaders, state["sets"], strict=True):
            loader.load_state_dict(own)
        self.epoch, self._step, self._done = state["epoch"], state["step"], set(state["done"])
