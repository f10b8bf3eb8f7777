"""Formats of the shards: one module each, with everything that is known of the format.

A set of shards has a folder for each format. Most formats have files for each shard, whose names end with the number of
the shard (``shard-00003``); a *joined* one has a file a set, to which every shard adds a part. Formats know local files
alone; storage and paths belong to the shards stage.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.base.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from curate.shards.windows import Ids, ShardWindows


class LocalFile(NamedTuple):
    """A file to write: its name in the format's folder without suffix, its suffix, and what writes it to a local path."""

    name: str
    suffix: str
    write: Callable[[str], object]


class SetContent(NamedTuple):
    """What a set of shards consists of, for the files that a format has once a set.

    Attributes:
        shards: (file name, bytes, windows) of each of the format's files of shards, in order.
        n_windows: windows of the set; of a joined format.
        size: tokens of a full window, L.
        token_type: uint16 or uint32.
        is_denoised: whether its windows are denoised.
    """

    shards: Sequence[tuple[str, int, int]]
    n_windows: int
    size: int
    token_type: np.dtype[Any]
    is_denoised: bool


class ShardFormat(ABC):
    """One format. Equal windows must give equal bytes.

    Attributes:
        name: in recipes, and of the format's folder.
        pattern: regular expression of the names of all its files in that folder.
        joined: (name, suffix) of the file that a set has once and whose content is the parts of all shards, L ids a window
            and nothing else; None: each shard has files.
    """

    name: str
    pattern: str
    joined: tuple[str, str] | None = None

    @abstractmethod
    def shard_files(self, windows: ShardWindows, shard: int, pad: int) -> list[LocalFile]:
        """The files of shard number ``shard``; of a joined format its part alone. ``pad`` fills windows up to L."""

    def set_files(self, content: SetContent) -> list[LocalFile]:
        """The files that a set has once, beside a joined one."""
        return []

    @abstractmethod
    def suffixes(self, is_denoised: bool) -> tuple[str, ...]:
        """Suffixes of the files of a shard (of the set, when joined); the first one's holds the tokens."""

    def read(self, paths: Mapping[str, str], size: int, token_type: np.dtype[Any], pad: int) -> Iterator[ShardWindows]:
        """The windows of a shard from its local files by suffix, a few at a time; not of a joined format.

        Raises:
            ValueError: the files contradict themselves or each other.
        """
        raise NotImplementedError(f"{self.name} has no files of single shards")

    def read_joined(self, path: str, size: int, token_type: np.dtype[Any]) -> Iterator[Ids]:
        """The windows of a joined file with their padding: [k, L] ids, a few at a time.

        Raises:
            ValueError: the file does not hold whole windows.
        """
        raise NotImplementedError(f"{self.name} joins no shards")

    def check_joined(self, paths: Mapping[str, str], content: SetContent) -> None:
        """Compare the files beside a joined one, by suffix, with what the set consists of.

        Raises:
            ValueError: they describe another set.
        """
        raise NotImplementedError(f"{self.name} joins no shards")


FORMATS: Registry[ShardFormat] = Registry(
    "shard format", "curate.shards.formats", ("parquet", "mds", "megatron", "numpy", "webdataset")
)
"""In the order in which ``index.json`` names them."""

_SHARD = re.compile(r"(?:^|[-/])shard[-.](\d+)$")


def shard_number(name: str) -> int | None:
    """The number of the shard that a file is of, from its name without suffix; None: a set has the file once."""
    found = _SHARD.search(name)
    return int(found[1]) if found else None
