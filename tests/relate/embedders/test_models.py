"""Models in folders: what they compute, that batches do not matter, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from curate.base.errors import RequestError
from curate.relate.embedders import model as folders
from curate.relate.embedders.model import ModelEmbedder, check_model, checksum, find_model, kind_of, pack, unpack
from curate.relate.similarity import cosine
from tests.relate.embedders.models import WORDS, word_vectors, write_onnx, write_static

TEXTS = [
    "river boat",
    "fish shore river",
    "engine wheel",
    "fuel motor wheel unheard-of",
    "violin opera",
    "",
    "nothing known",
]
LONG = [" ".join(WORDS[(i * 7) % 12] for i in range(n)) for n in (3, 9, 40, 200)]


@pytest.fixture(params=["static", "onnx"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_static(tmp_path / "m") if request.param == "static" else write_onnx(tmp_path / "m")


def test_related_texts_are_near_and_empty_ones_are_zero(model: Path) -> None:
    vectors, scale = ModelEmbedder(model).transform(TEXTS)
    near = cosine(vectors, vectors)
    assert near[0, 1] > 0.5 > near[0, 2]
    assert near[2, 3] > 0.5 > near[2, 4]
    assert not vectors[5].any()
    assert scale[5] == 0
    np.testing.assert_allclose(np.linalg.norm(vectors[0] * scale[0]), 1, atol=0.02)


def test_static_vectors_are_the_mean_of_known_tokens(tmp_path: Path) -> None:
    table = word_vectors()
    for name, kind in (("embeddings", "<f4"), ("embedding.weight", "<f2")):
        found = ModelEmbedder(write_static(tmp_path / name, name, kind)).encode(TEXTS)
        np.testing.assert_allclose(found[0], table[4:6].mean(axis=0), atol=1e-2 if kind == "<f2" else 1e-6)
        np.testing.assert_allclose(found[3], table[[10, 11, 9]].mean(axis=0), atol=1e-2)
        assert not found[6].any()


@pytest.mark.parametrize(
    ("pooling", "rows"), [("pooling_mode_mean_tokens", [2, 4, 5, 3]), ("pooling_mode_cls_token", [2])]
)
def test_onnx_vectors_are_pooled_as_the_folder_says(tmp_path: Path, pooling: str, rows: list[int]) -> None:
    found = ModelEmbedder(write_onnx(tmp_path / "m", pooling=pooling)).encode(["river boat"])[0]
    wanted = word_vectors()[rows].mean(axis=0)
    np.testing.assert_allclose(found / np.linalg.norm(found), wanted / np.linalg.norm(wanted), atol=1e-6)


def test_long_texts_are_read_by_the_policy(tmp_path: Path) -> None:
    """Ten tokens a slice, two of them special."""
    table, ids = word_vectors(), [4 + (i * 7) % 12 for i in range(40)]

    def direction(start: int, stop: int) -> np.ndarray:
        mean = table[[2, *ids[start:stop], 3]].mean(axis=0)
        return mean / np.linalg.norm(mean)

    slices = {
        "first": [(0, 8)],
        "mean": [(start, start + 8) for start in range(0, 40, 8)],
        "spread": [(0, 8), (10, 18), (21, 29), (32, 40)],
    }
    for policy, parts in slices.items():
        found = ModelEmbedder(write_onnx(tmp_path / "m"), None, policy).encode([LONG[2]])[0]  # type: ignore[arg-type]
        wanted = np.mean([direction(*part) for part in parts], axis=0)
        np.testing.assert_allclose(found / np.linalg.norm(found), wanted / np.linalg.norm(wanted), atol=1e-5)


def test_a_vector_does_not_depend_on_the_batch(model: Path) -> None:
    embedder, texts = ModelEmbedder(model), [*TEXTS, *LONG]
    whole = embedder.encode(texts)
    assert np.array_equal(embedder.encode(texts[::-1])[::-1], whole)
    assert np.array_equal(np.concatenate([embedder.encode([text]) for text in texts]), whole)


def test_the_prefix_is_put_before_every_text(model: Path) -> None:
    assert np.array_equal(
        ModelEmbedder(model, prefix="opera ").encode(["river"]), ModelEmbedder(model).encode(["opera river"])
    )


def test_a_packed_model_is_the_same_model(model: Path, tmp_path: Path) -> None:
    pack(model, tmp_path / "a.tar")
    moved = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    (moved / "README.md").write_text("another text")
    pack(moved, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    unpacked = unpack(tmp_path / "a.tar", tmp_path / "unpacked")
    assert not (unpacked / "README.md").exists()
    assert checksum(unpacked) == checksum(moved) == checksum(model)
    assert np.array_equal(ModelEmbedder(unpacked).encode(LONG), ModelEmbedder(model).encode(LONG))
    text = (moved / "tokenizer.json").read_text()
    (moved / "tokenizer.json").write_text(text.replace("river", "creek"))
    assert checksum(moved) != checksum(model)


def test_a_package_that_carries_a_model_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_static(tmp_path / "some_model_package" / "model")
    (tmp_path / "some_model_package" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_model("some-model-package") == tmp_path / "some_model_package" / "model"


def test_what_is_no_model_is_refused_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="nothing is downloaded"):
        find_model("sentence-transformers/all-MiniLM-L6-v2")
    with pytest.raises(RequestError, match="holds no embedding model"):
        kind_of(tmp_path)
    model = write_onnx(tmp_path / "m", pooling="pooling_mode_max_tokens")
    with pytest.raises(RequestError, match="pools by max_tokens"):
        check_model(model)
    (model / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(RequestError, match="layer Dense"):
        check_model(model)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RequestError, match=r"curate-corpus\[onnx\]"):
        check_model(model)
    (model / "onnx" / "model.onnx").unlink()
    (model / "pytorch_model.bin").write_bytes(b"")
    assert kind_of(model) == "torch"
    monkeypatch.setattr(folders.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(RequestError, match=r"curate-corpus\[sentence-transformers\]"):
        check_model(model)
    damaged = write_static(tmp_path / "s")
    whole = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(RequestError, match="not a whole safetensors file"):
        ModelEmbedder(damaged)
    (damaged / "model.safetensors").write_bytes(whole[:4])
    with pytest.raises(RequestError, match="not a whole safetensors file"):
        kind_of(damaged)
