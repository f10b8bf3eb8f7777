"""The lexical embedder: related texts are near, and bytes do not depend on the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from curate.base.errors import WorkspaceError
from curate.relate.embedders.lexical import LexicalModel, fit
from curate.relate.encoders.subspace import right_subspace
from curate.relate.similarity import cosine, inverse_norms

TOPICS = (
    "river boat water fish net bank shore tide harbour sail",
    "engine wheel fuel road motor brake gear driver tyre clutch",
    "violin concert orchestra melody chord opera singer rhythm tempo choir",
)


def texts(n: int = 60) -> tuple[list[str], list[int]]:
    """Texts of twelve words each, from one topic and from common words."""
    rng = np.random.default_rng(1)
    label = [i % len(TOPICS) for i in range(n)]
    common = ["the", "and", "of", "it", "was", "with", "for"]
    return [" ".join([*rng.choice(TOPICS[t].split(), 8), *rng.choice(common, 4)]) for t in label], label


def is_same(a: LexicalModel, b: LexicalModel) -> bool:
    return all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in ("hashes", "idf", "projection", "mean")
    )


@pytest.fixture(scope="module")
def model() -> LexicalModel:
    return fit(texts()[0], dim=16)


def test_texts_of_a_topic_are_nearest(model: LexicalModel) -> None:
    documents, label = texts()
    likeness = cosine(model.transform(documents)[0], model.transform(documents)[0])
    np.fill_diagonal(likeness, -2)
    assert np.mean(np.array(label)[likeness.argmax(axis=1)] == label) > 0.95


def test_vectors_are_unit_and_mean_free(model: LexicalModel) -> None:
    vectors, scale = model.transform(texts()[0])
    assert vectors.dtype == np.int8
    assert scale.dtype == np.float32
    assert vectors.shape == (60, 16)
    assert np.abs(vectors).max(axis=1).tolist() == [127] * 60
    unit = vectors * scale[:, None]
    assert np.linalg.norm(unit, axis=1) == pytest.approx(1, abs=0.01)
    assert np.linalg.norm(unit.mean(axis=0)) < 0.25  # before removal, common words make it above 0.5


@pytest.mark.parametrize("size", [1, 7, 59])
def test_bytes_do_not_depend_on_the_batch(model: LexicalModel, size: int) -> None:
    documents = pa.array(texts()[0], pa.large_string())
    whole = model.transform(documents)
    parts = [model.transform(documents[i : i + size]) for i in range(0, len(documents), size)]
    assert np.concatenate([v for v, _ in parts]).tobytes() == whole[0].tobytes()
    assert np.concatenate([s for _, s in parts]).tobytes() == whole[1].tobytes()


def test_text_without_known_words(model: LexicalModel) -> None:
    vectors, scale = model.transform(["", "zzz qqq", "boat river"])
    assert not vectors[:2].any()
    assert scale.tolist()[:2] == [0, 0]
    assert vectors[2].any()


@pytest.mark.parametrize(
    "sample", [[], [""], ["alpha beta"], ["alpha beta", "beta gamma"], ["same same"] * 3, ["a"] * 50]
)
def test_tiny_samples_keep_the_dimensions(sample: list[str]) -> None:
    model = fit(sample, dim=8)
    vectors, scale = model.transform([*sample, "alpha"])
    assert vectors.shape == (len(sample) + 1, 8)
    assert np.all((scale == 0) == (inverse_norms(vectors) == 0))


def test_one_document_is_not_its_own_mean() -> None:
    vectors, scale = fit(["alpha beta"], dim=8).transform(["alpha beta"])
    assert vectors.any()
    assert scale[0] > 0


def test_fit_is_a_function_of_its_arguments() -> None:
    documents = texts()[0]
    model = fit(documents, dim=16)
    assert is_same(model, fit(pa.chunked_array([documents[:9], documents[9:]]), dim=16))
    assert not is_same(model, fit(documents, dim=16, seed=1))


def test_vocabulary_is_pruned() -> None:
    documents = [f"always often{i % 2} rare{i} some{i % 5}" for i in range(20)]
    assert (fit(documents, dim=8).idf > 0).sum() == 7  # often0, often1, some0 … some4
    assert (fit(documents, dim=8, max_terms=2).idf > 0).sum() == 2
    assert (fit(documents, dim=8, max_df=0.4).idf > 0).sum() == 5


def test_save_and_load(model: LexicalModel, tmp_path: Path) -> None:
    model.save(tmp_path / "one")
    loaded = LexicalModel.load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert is_same(loaded, model)
    assert loaded.transform(texts()[0])[0].tobytes() == model.transform(texts()[0])[0].tobytes()


def test_damaged_model_is_refused(model: LexicalModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    saved = bytearray((tmp_path / "model").read_bytes())
    saved[len(saved) // 2] ^= 1
    for wrong in (bytes(saved), b"short"):
        (tmp_path / "m.bin").write_bytes(wrong)
        with pytest.raises(WorkspaceError, match=r"m\.bin: the lexical model is damaged.*refit"):
            LexicalModel.load(tmp_path / "m.bin")


@pytest.mark.parametrize("dim", [0, 1041])
def test_dimensions_out_of_range(dim: int) -> None:
    with pytest.raises(ValueError, match="dim must be between 1 and 1040"):
        fit(["alpha beta"], dim=dim)


def test_subspace_is_that_of_the_singular_vectors() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 40)) + 0.01 * rng.normal(size=(50, 40))
    basis = right_subspace(sp.csr_array(dense), 6)
    assert basis.T @ basis == pytest.approx(np.eye(6), abs=1e-6)
    leading = np.linalg.svd(dense)[2][:6]
    assert np.linalg.svd(leading @ basis)[1] == pytest.approx(np.ones(6), abs=1e-6)


def test_subspace_does_not_depend_on_threads() -> None:
    rng = np.random.default_rng(3)
    matrix = sp.random_array((300, 500), density=0.05, format="csr", rng=rng)
    for dim in (1, 30, 65):
        assert right_subspace(matrix, dim, threads=3).tobytes() == right_subspace(matrix, dim).tobytes()


@pytest.mark.parametrize("documents", [1, 3, 60])
def test_a_fit_with_threads_is_the_same_model(documents: int) -> None:
    assert is_same(fit(texts()[0][:documents], dim=16, threads=3), fit(texts()[0][:documents], dim=16))


def test_subspace_beyond_the_rank_is_zero() -> None:
    basis = right_subspace(sp.csr_array(np.outer(np.arange(1.0, 5.0), np.ones(7))), 3)
    assert (np.linalg.norm(basis, axis=0) > 0.5).sum() == 1
    assert (basis == 0).all(axis=0).sum() == 2


def test_held_is_the_share_of_the_squared_length() -> None:
    documents = texts()[0]
    whole = fit(documents, dim=64)  # more than the rank
    assert whole.transform_held(documents)[2] == pytest.approx(1, abs=1e-5)
    held = fit(documents, dim=3).transform_held(documents)[2]
    assert 0 < held.min() < held.max() < 0.9
    alone, beside_unknown, unknown = whole.transform_held(["boat river", "boat river zzz qqq", "zzz qqq"])[2]
    assert alone > 0.9
    assert 0.1 < beside_unknown < 0.6 * alone
    assert unknown == 0


def test_common_words_change_neither_vector_nor_held_nor_keywords(model: LexicalModel) -> None:
    documents = [f"the {text}" for text in texts()[0]]
    model = fit(documents, dim=16)
    with_the, without = model.transform_held(["the river boat"]), model.transform_held(["river boat"])
    assert all(a.tobytes() == b.tobytes() for a, b in zip(with_the, without, strict=True))
    assert model.keywords(["the river"], 2).tolist()[0][1] == -1


def two_sources() -> tuple[list[str], np.ndarray]:
    """Thirty documents of two topics of one source, a thousand pages of fifty kinds of another."""
    rng = np.random.default_rng(4)
    small = [" ".join(rng.choice(TOPICS[i % 2].split(), 6)) + f" word{rng.integers(60)}" for i in range(30)]
    kinds = [[f"page{k}x{w}" for w in range(12)] for k in range(50)]
    pages = [" ".join(rng.choice(kinds[i % 50], 8, replace=False)) for i in range(1000)]
    return small + pages, np.array([0] * 30 + [1] * 1000)


def test_a_small_source_keeps_its_share_of_the_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.relate.embedders.lexical.STRATUM_DOCUMENTS", 30)
    documents, strata = two_sources()

    def known(model: LexicalModel) -> tuple[float, float]:
        vectors, _, held = model.transform_held(documents[:30])
        likeness = cosine(vectors, vectors)
        np.fill_diagonal(likeness, -2)
        return float(held.mean()), float(np.mean(likeness.argmax(axis=1) % 2 == np.arange(30) % 2))

    held, same_topic = known(fit(documents, dim=24, strata=strata))
    assert held > 0.4
    assert same_topic > 0.95
    assert known(fit(documents, dim=24))[0] < 0.1  # in a plain sample the pages take all dimensions


def test_strata_weigh_as_many_documents_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.relate.embedders.lexical.STRATUM_DOCUMENTS", 30)
    documents, strata = two_sources()
    assert is_same(fit(documents, dim=8, strata=strata), fit(documents, dim=8, strata=7 - strata, threads=2))
    assert is_same(fit(documents, dim=8), fit(documents, dim=8, strata=np.zeros(len(documents), np.int64) + 3)) is False
