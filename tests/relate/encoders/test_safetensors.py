"""A model file is data: whatever its header claims, no more is read than it holds, and the error names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.base.errors import RequestError
from curate.relate.encoders.static import StaticEncoder, header
from curate.relate.encoders.static import read_array as read
from tests.relate.embedders.models import word_vectors, write_tokenizer

TABLE = np.arange(12, dtype=np.float32).reshape(3, 4)


def write(path: Path, head: Any, data: bytes = TABLE.tobytes()) -> Path:
    raw = head if isinstance(head, bytes) else json.dumps(head).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"x": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48], **changes}}


def test_an_array_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write(tmp_path / "m", {"__metadata__": {"format": "pt"}, **entry()})
    assert list(header(path)) == ["x"]
    np.testing.assert_array_equal(read(path, "x"), TABLE)


@pytest.mark.parametrize(
    "head",
    [
        entry(shape=[1 << 40, 1 << 40]),
        entry(shape=[-3, -4]),
        entry(shape=[3, 4.0]),
        entry(shape=[3, True]),
        entry(shape="34"),
        entry(data_offsets=[-48, 0]),
        entry(data_offsets=[0, 44]),
        entry(data_offsets=[8, 56]),
        entry(data_offsets=[1 << 60, (1 << 60) + 48]),
        entry(data_offsets=[0]),
        entry(data_offsets=None),
    ],
    ids=str,
)
def test_a_header_that_lies_is_refused(tmp_path: Path, head: dict[str, Any]) -> None:
    path = write(tmp_path / "m", head)
    with pytest.raises(RequestError, match="m is not a whole safetensors file"):
        read(path, "x")


@pytest.mark.parametrize(
    "head", [[], "x", {"x": 3}, {"x": {"dtype": "F32"}}, b"[" * 100_000, b"\xff{}", b"{"], ids=repr
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, head: Any) -> None:
    path = write(tmp_path / "m", head)
    with pytest.raises(RequestError, match="m is not a whole safetensors file"):
        header(path)


def test_a_type_that_numpy_lacks_is_named(tmp_path: Path) -> None:
    for kind in ("BF16", ["F32"], None):
        with pytest.raises(RequestError, match="save the model as F32 or F16"):
            read(write(tmp_path / "m", entry(dtype=kind)), "x")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 150), st.integers(0, 200))
def test_damage_is_refused_or_read(tmp_path: Path, noise: bytes, at: int, cut: int) -> None:
    path = write(tmp_path / "m", entry())
    whole = path.read_bytes()
    path.write_bytes((whole[:at] + noise + whole[at + len(noise) :])[: len(whole) - cut or None])
    try:
        found = read(path, "x") if "x" in header(path) else TABLE
        assert found.nbytes <= len(whole)
    except RequestError:
        pass


def static_model(folder: Path, **arrays: np.ndarray[Any, Any]) -> Path:
    """A Model2Vec folder with these arrays."""
    write_tokenizer(folder)
    head, data = {}, b""
    kinds = {"float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32"}
    for name, one in {"embeddings": word_vectors(), **arrays}.items():
        ends = [len(data), len(data) + one.nbytes]
        head[name] = {"dtype": kinds[one.dtype.name], "shape": list(one.shape), "data_offsets": ends}
        data += one.tobytes()
    write(folder / "model.safetensors", head, data)
    return folder


def test_vectors_shared_by_tokens(tmp_path: Path) -> None:
    mapping = np.zeros(16, np.int64)
    mapping[5] = 7
    found = StaticEncoder(static_model(tmp_path / "m", mapping=mapping, weights=np.full(16, 2.0))).encode(["boat"])
    np.testing.assert_allclose(found[0], 2 * word_vectors()[7], rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"mapping": np.full(16, 1 << 40)}, "names vectors that are not there"),
        ({"mapping": np.full(16, -1)}, "names vectors that are not there"),
        ({"mapping": np.arange(16).reshape(4, 4)}, "a number for every token"),
        ({"mapping": np.arange(16) / 2}, "a number for every token"),
        ({"weights": np.ones(15)}, "a number for every token"),
        ({"embeddings": np.ones(16, np.float32)}, "must be a table"),
        ({"embeddings": np.ones((0, 4), np.float32)}, "must be a table"),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_never_reach_compiled_code(tmp_path: Path, arrays: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        StaticEncoder(static_model(tmp_path / "m", **arrays))
