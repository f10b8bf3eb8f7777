"""Predictions are those of the fastText library; files that lie are refused."""

import contextlib
import random
import struct
from functools import lru_cache
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.errors import RequestError
from curate.base.text import text_buffers
from curate.quality import fasttext_file
from curate.quality.fasttext_file import read_model
from curate.quality.training import lines_of

LABELS = 300
"""As many rows as a matrix must have to be quantised."""

_RANDOM = random.Random(7)
WORDS = ["".join(_RANDOM.choices("abcde\u00e9\u0448\u65e5", k=_RANDOM.randint(1, 7))) for _ in range(400)]


def text_of(n_words: int) -> str:
    return " ".join(_RANDOM.choices(WORDS, k=n_words))


TEXTS = [
    *(text_of(n) + end for n in range(1, 40, 3) for end in ("", "\n", " </s> behind", " unseen unseen")),
    "",
    " \n\x00 ",
    "</s>",
    "__label__3 __label__none",
    "\x00\x00a\x00b",
    "x" * 5_000,
    "\u65e5" * 2_000,
]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lines") / "lines.txt"
    path.write_text("".join(f"__label__{i % LABELS} {text_of(1 + i % 9)}\n" for i in range(1_500)))
    return path


def made(lines: Path, path: Path, quantise: dict | None = None, **options) -> Path:
    """A model with weights from a seed: trained ones depend on how threads race."""
    given = {"dim": 10, "bucket": 1_000, "minn": 0, "maxn": 0, **options}
    model = fasttext.train_supervised(str(lines), epoch=1, thread=12, verbose=0, **given)
    weights = np.random.default_rng(1)
    shapes = model.get_input_matrix().shape, model.get_output_matrix().shape
    model.set_matrices(*(weights.normal(size=shape).astype(np.float32) for shape in shapes))
    if quantise is not None:
        model.quantize(**quantise)
    model.save_model(str(path))
    return path


@lru_cache(maxsize=2)
def loaded(path: Path):
    fasttext.FastText.eprint = lambda *arguments, **named: None
    return fasttext.load_model(str(path))


def compare(path: Path, texts: list[str]) -> None:
    library, model = loaded(path), read_model(path)
    column = pa.array(texts, pa.large_string())
    data, offsets = text_buffers(column)
    found = model.predict(data, offsets, offsets[1:], range(len(model.labels)))
    for i, line in enumerate(lines_of(column, 1_000_000)):
        told = library.f.predict(line, len(model.labels), 0.0, "strict") if not line.isspace() else []
        probabilities = {label: score for score, label in told}
        ours = dict(zip(model.labels, found.scores[i].tolist(), strict=True))
        assert all(abs(ours[label] - probabilities.get(label, 0.0)) < 1e-6 for label in model.labels), line
        if not told:
            assert (found.label[i], found.score[i], found.next_score[i]) == (-1, 0, 0)
            continue
        ranked = [*sorted(probabilities.values(), reverse=True), 1e-5]
        assert abs(found.score[i] - ranked[0]) < 1e-6
        assert abs(found.next_score[i] - ranked[1]) < 1e-6
        assert abs(probabilities[model.labels[found.label[i]]] - ranked[0]) < 1e-6


PRUNED = {"cutoff": 600, "qnorm": True, "dsub": 3}


@pytest.mark.parametrize("loss", ["softmax", "hs", "ova", "ns"])
@pytest.mark.parametrize(
    ("options", "quantise"),
    [
        ({}, None),
        ({"wordNgrams": 3, "minn": 2, "maxn": 4}, None),
        ({"wordNgrams": 2, "minn": 1, "maxn": 3}, {"qnorm": True, "qout": True}),
        ({"wordNgrams": 2, "minn": 2, "maxn": 4}, PRUNED),
        ({}, {"cutoff": 380}),
    ],
    ids=["words", "n-grams", "quantised", "pruned", "pruned words"],
)
def test_predictions_are_those_of_the_library(loss, options, quantise, lines: Path, tmp_path: Path) -> None:
    compare(made(lines, tmp_path / "model.bin", quantise, loss=loss, **options), TEXTS)


@pytest.mark.parametrize("quantise", [None, {"qnorm": True}])
def test_a_large_model_is_mapped_and_its_codes_stay_codes(
    quantise, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fasttext_file, "SMALL_BYTES", 0)
    path = made(lines, tmp_path / "model.bin", quantise, wordNgrams=2, minn=2, maxn=4)
    tables = read_model(path).tables
    assert (len(tables.codes) > 0) == (quantise is not None)
    assert (len(tables.rows) == 0) == (quantise is not None)
    if quantise is None:
        mapped = tables.rows
        while not isinstance(mapped, np.memmap):
            mapped = mapped.base
    compare(path, TEXTS)


@pytest.fixture(scope="module")
def bigrams(lines: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(lines, tmp_path_factory.mktemp("bigrams") / "model.bin", wordNgrams=2, minn=2, maxn=3)


@settings(max_examples=25)
@given(st.lists(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS)).map(" ".join)), max_size=4))
def test_predictions_of_any_text(bigrams: Path, texts: list[str]) -> None:
    compare(bigrams, texts)


@pytest.mark.parametrize("options", [{"minn": 2, "maxn": 3}, {"wordNgrams": 2}, {"loss": "hs", "minn": 2, "maxn": 3}])
def test_halves_are_predicted_as_if_they_were_alone(options, lines: Path, tmp_path: Path) -> None:
    model = read_model(made(lines, tmp_path / "model.bin", **options))
    words = [word for word in WORDS if len(word) == 4][:20]
    texts = [f"{a} {b}" for a in words for b in words]
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    whole = model.predict(data, offsets, offsets[1:], halves=True)
    # A half ends at the word in the middle, and has no end of a text, which the whole has after the second.
    same = [text.split()[0] == text.split()[1] for text in texts]
    assert 0 < whole.agrees.sum() < len(texts)
    assert whole.agrees[same].mean() > 2 * whole.agrees[~np.array(same)].mean()
    assert not model.predict(data, offsets, offsets[1:]).agrees.any()
    one_word = text_buffers(pa.array(["abcd"], pa.large_string()))
    assert not model.predict(*one_word, one_word[1][1:], halves=True).agrees.any()


def damaged(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(RequestError, match=path.name) as caught:
        read_model(path)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["full", "pruned"])
def test_files_that_are_cut_or_lie_are_refused(kind: str, lines: Path, tmp_path: Path) -> None:
    options = {"wordNgrams": 2, "minn": 2, "maxn": 3, "loss": "hs"}
    whole = made(lines, tmp_path / "model.bin", PRUNED if kind == "pruned" else None, **options).read_bytes()
    path = tmp_path / "damaged.bin"
    for size in [*range(0, 200, 7), *range(200, len(whole), len(whole) // 40), len(whole) - 1]:
        assert "not a fastText model" in damaged(path, whole[:size]) or size > 91
    for place, form, number, said in (
        (8, "<i", 0, "dimensions cannot be 0"),
        (8, "<i", 1 << 30, "dimensions cannot be"),
        (28, "<i", 1 << 20, "words of an n-gram"),
        (32, "<i", 9, "loss cannot be 9"),
        (40, "<i", 0, "buckets"),
        (40, "<i", -5, "buckets"),
        (48, "<i", 1 << 30, "characters of an n-gram"),
        (64, "<i", 1 << 30, "entries of the dictionary"),
        (68, "<i", -1, "entries of the dictionary|words"),
        (72, "<i", 0, "labels cannot be 0"),
        (72, "<i", 1 << 29, "entries of the dictionary"),
        (84, "<q", 1 << 40, "pruned n-grams"),
    ):
        lying = bytearray(whole)
        struct.pack_into(form, lying, place, number)
        message = damaged(path, bytes(lying))
        assert any(part in message for part in said.split("|")), message


def test_any_damage_ends_in_an_error_or_a_prediction(lines: Path, tmp_path: Path) -> None:
    whole = made(lines, tmp_path / "model.bin", PRUNED, wordNgrams=2, minn=2, maxn=3).read_bytes()
    generator, path = random.Random(3), tmp_path / "damaged.bin"
    data, offsets = text_buffers(pa.array(TEXTS[:40], pa.large_string()))
    for _ in range(150):
        lying = bytearray(whole)
        region = generator.choice((92, 92, 12_000, len(whole)))
        for _ in range(generator.randint(1, 3)):
            place = generator.randrange(8, region - 4)
            struct.pack_into("<i", lying, place, generator.choice((-1, 0, 1, 255, 1 << 16, (1 << 31) - 1)))
        path.write_bytes(lying)
        with contextlib.suppress(RequestError):
            read_model(path).predict(data, offsets, offsets[1:], halves=True)


def test_weights_that_are_no_numbers_are_refused(lines: Path, tmp_path: Path) -> None:
    whole = made(lines, tmp_path / "model.bin").read_bytes()
    assert "no numbers" in damaged(tmp_path / "output.bin", whole[:-4] + struct.pack("<f", np.nan))
    n_words, n_labels = struct.unpack_from("<2i", whole, 68)
    first = len(whole) - 4 * 10 * n_labels - 17 - 4 * 10 * n_words
    path = tmp_path / "input.bin"
    path.write_bytes(whole[:first] + struct.pack("<f", np.inf) + whole[first + 4 :])
    data, offsets = text_buffers(pa.array([" ".join(WORDS)], pa.large_string()))
    with pytest.raises(RequestError, match="no number for a text"):
        read_model(path).predict(data, offsets, offsets[1:])


def test_a_model_with_the_labels_before_the_words_is_refused(lines: Path, tmp_path: Path) -> None:
    whole = bytearray(made(lines, tmp_path / "model.bin").read_bytes())
    place = whole.index(b"\0", 92) + 9
    whole[place] = 1
    assert "not in order" in damaged(tmp_path / "order.bin", bytes(whole))
