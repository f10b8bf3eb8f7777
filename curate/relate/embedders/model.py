"""A model's folder: where it is, which kind it is, what of it counts, and the one file it becomes in a workspace.

Nothing is downloaded: a model is a folder, or an installed package that carries one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from curate.base.errors import RequestError
from curate.base.hashing import digest
from curate.relate.embedders import EmbedderKind, How, LocalPath, Settings
from curate.relate.encoders.quantised import MeanRemoved
from curate.relate.encoders.static import ARRAYS, StaticEncoder, header
from curate.relate.encoders.transformer import (
    Forward,
    OnnxForward,
    Policy,
    TorchForward,
    TransformerEncoder,
    load_library,
    load_runtime,
    pooling_of,
)
from curate.relate.similarity import MAX_DIM

Kind = Literal["static", "onnx", "torch"]

ONNX_FILES = ("model.onnx", "onnx/model.onnx")

MEAN_FILE = "curate-mean.npy"
"""In a packed model: the mean that is removed from its vectors."""

MAX_TOKENS = 512
"""Of a slice, where the folder does not say how many the model was made for."""

_NOT_NEEDED = (
    ".md",
    ".h5",
    ".msgpack",
    ".ot",
    ".onnx",
    ".onnx_data",
    ".gitattributes",
    ".gitignore",
    ".png",
    ".pyc",
    ".py",
)


def find_model(name: str) -> Path:
    """The folder that ``name`` means: a path, or an installed package with a model's folder in it.

    Raises:
        RequestError: there is none.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    for place in (spec.submodule_search_locations or []) if spec else []:
        if tokenizers := [*Path(place).rglob("tokenizer.json")]:
            return min((path.parent for path in tokenizers), key=lambda folder: (len(folder.parts), folder))
    raise RequestError(
        f"embed.model: {name!r} is neither `lexical` nor `column`, nor a folder with a model, nor an installed package "
        "that carries one; nothing is downloaded: copy the model's folder here (git clone, hf download) and name it"
    )


def kind_of(folder: Path) -> Kind:
    """Which embedder runs the model.

    Raises:
        RequestError: the folder holds none.
    """
    for path in sorted(folder.rglob("model.safetensors")):
        if set(ARRAYS) & set(header(path)):
            return "static"
    if onnx_file(folder):
        return "onnx"
    if (folder / "config.json").is_file() and (*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")):
        return "torch"
    raise RequestError(
        f"embed.model: {folder} holds no embedding model; one has model.onnx (or onnx/model.onnx) and tokenizer.json, or "
        "config.json and model.safetensors"
    )


def onnx_file(folder: Path) -> Path | None:
    """The model's ONNX file."""
    return next((folder / name for name in ONNX_FILES if (folder / name).is_file()), None)


def check_model(folder: Path) -> Kind:
    """The model's kind, when what runs it is installed and the folder has what it needs; nothing is loaded.

    Raises:
        RequestError: it cannot be run here.
    """
    kind = kind_of(folder)
    if kind == "onnx":
        load_runtime()
        pooling_of(folder)
    if kind == "torch" and importlib.util.find_spec("sentence_transformers") is None:
        load_library()
    if kind != "static" and not (folder / "tokenizer.json").is_file():
        raise RequestError(f"embed.model: {folder} has no tokenizer.json; save the model with its fast tokenizer")
    return kind


def model_files(folder: Path, kind: Kind) -> list[Path]:
    """Files that the model consists of, below ``folder``, sorted."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts]
    kept = [path for path in files if not path.name.endswith(_NOT_NEEDED)]
    weights = (".safetensors", ".bin")
    if kind == "onnx":
        chosen = onnx_file(folder)
        assert chosen is not None
        kept = [path for path in kept if path.suffix not in weights]
        kept += [chosen, *(path for path in files if path.parent == chosen.parent and path.name.endswith(".onnx_data"))]
    elif any(path.suffix == ".safetensors" for path in kept):
        kept = [path for path in kept if path.suffix != ".bin"]
    return sorted(set(kept), key=lambda path: path.relative_to(folder).as_posix())


def checksum(folder: Path) -> str:
    """Digest of the model's files and their names; where the folder lies does not matter."""
    files = []
    for path in model_files(folder, kind_of(folder)):
        with path.open("rb") as file:
            state = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        files.append([path.relative_to(folder).as_posix(), state.hexdigest()])
    return digest(files)


def pack(folder: Path, target: Path) -> None:
    """One tar file of the model; equal models give equal bytes."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in model_files(folder, kind_of(folder)):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(entry, file)


def unpack(packed: Path, folder: Path) -> Path:
    """The folder of a packed model."""
    with tarfile.open(packed) as tar:
        tar.extractall(folder, filter="data")
    return folder


class ModelEmbedder(MeanRemoved):
    """A model and the mean that is removed from its vectors.

    Args:
        folder: of the model.
        mean: float64[D]; that of the folder, or zero, when left out.
        long_documents: what of a long text is read.
        prefix: put before every text, as some models want it.
        gpu: whether it may run on a GPU.
    """

    def __init__(
        self,
        folder: Path,
        mean: NDArray[np.float64] | None = None,
        long_documents: Policy = "spread",
        prefix: str = "",
        *,
        gpu: bool = False,
    ) -> None:
        kind = kind_of(folder)
        if kind == "static":
            encoder: StaticEncoder | TransformerEncoder = StaticEncoder(folder, long_documents)
        else:
            path = onnx_file(folder)
            forward: Forward = (
                OnnxForward(path, pooling_of(folder), gpu=gpu) if path is not None else TorchForward(folder, gpu=gpu)
            )
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            encoder = TransformerEncoder(tokenizer, forward, max_tokens_of(folder), long_documents)
        if encoder.dim > MAX_DIM:
            raise RequestError(
                f"embed.model: vectors of {encoder.dim} dimensions; similarities are exact up to {MAX_DIM}: take a "
                "smaller model"
            )
        if mean is None and (folder / MEAN_FILE).is_file():
            mean = np.load(folder / MEAN_FILE, allow_pickle=False)
        super().__init__(encoder, mean, prefix)


def max_tokens_of(folder: Path) -> int:
    """Tokens of a slice, special ones included: what the folder says the model was made for."""
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        path = folder / name
        said = json.loads(path.read_text(encoding="utf-8")).get(key) if path.is_file() else None
        if isinstance(said, int | float) and 8 <= said <= 8192:
            return int(said)
    return MAX_TOKENS


_CHECKSUMS: dict[tuple[Any, ...], str] = {}


def known_checksum(folder: Path) -> str:
    """The model's checksum, read once per process while its files keep their sizes and times."""
    key = (folder, *sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")))
    if key not in _CHECKSUMS:
        _CHECKSUMS[key] = checksum(folder)
    return _CHECKSUMS[key]


@lru_cache(maxsize=4)
def _opened(path: Path, checksum: str, long_documents: Policy, prefix: str) -> ModelEmbedder:
    with tempfile.TemporaryDirectory(prefix="curate-model-") as folder:
        return ModelEmbedder(unpack(path, Path(folder)), None, long_documents, prefix)


class ModelKind(EmbedderKind):
    """A folder, or an installed package, with an embedding model; it is copied into the workspace."""

    name = "model"

    def settings(self, section: Settings) -> dict[str, Any]:
        folder = find_model(section.model)
        kind = check_model(folder)
        read = {"long_documents": section.long_documents, "prefix": section.prefix}
        return {"model": known_checksum(folder), "kind": kind, **read}

    def encoder(self, how: How, local_path: LocalPath) -> ModelEmbedder:
        return _opened(local_path(how["model"]), how["model"]["checksum"], how["long_documents"], how["prefix"])

    open = encoder


ENTRY = ModelKind()
