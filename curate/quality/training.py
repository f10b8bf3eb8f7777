"""Training fastText classifiers, and what they are worth on texts that were held out.

fastText 0.9.2 initialises a tenth of its matrix a thread and leaves the rest as the memory was; more threads than one
race. So training runs in a fresh process with one thread and an allocator that hands out zeros: the most frequent words
are in the tenth that is initialised, and the same lines give the same model, byte for byte (tested).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.base.text import text_buffers
from curate.quality.fasttext_file import LABEL_PREFIX, read_model
from curate.quality.language import prefix_ends
from curate.quality.scorers.fasttext import PREFIX_BYTES

BINS = 10
"""Bins of the calibration table."""

_ZERO_MEMORY = {"MALLOC_PERTURB_": "255"}
"""glibc fills what it hands out with the complement of this byte. Without it a small matrix lies in memory that was used
before, and training now and then ends in NaN."""

KEEP_SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class TrainingOptions:
    """fastText's own parameters.

    DCLM's and fastText's learning rate is 0.1, which suits 10⁵ and more texts: on 2,000 long ones it leaves every score at
    0.50 (measured), so the default is higher.
    """

    dim: int = 100
    epochs: int = 5
    learning_rate: float = 1.0
    ngrams: int = 2
    buckets: int = 200_000
    min_count: int = 1
    seed: int = 0
    holdout: float = 0.1
    """Share of the texts, by hash of the text, that the model never sees."""


class Split(NamedTuple):
    """Texts by label, distinct, in the order of their hashes: no order of files can change a model."""

    train: dict[str, list[str]]
    held_out: dict[str, list[str]]


def split(texts: Mapping[str, Sequence[str]], options: TrainingOptions) -> Split:
    """Training and held-out texts.

    A text twice under one label counts once, and the same text is never on both sides.

    Raises:
        RequestError: a label has fewer than two texts on either side, or a text has two labels.
    """
    train: dict[str, list[str]] = {}
    held_out: dict[str, list[str]] = {}
    limit = int(options.holdout * 2.0**64)
    labels: dict[bytes, str] = {}
    for label in sorted(texts):
        drawn: dict[bytes, str] = {}
        for text in texts[label]:
            key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            drawn[key] = text
            if labels.setdefault(key, label) != label:
                raise RequestError(
                    f"a text is among those of `{labels[key]}` and of `{label}`: {text[:60]!r}; leave it out of one"
                )
        train[label], held_out[label] = [], []
        for key, text in sorted(drawn.items()):
            (held_out if int.from_bytes(key, "little") < limit else train)[label].append(text)
        for side in (train, held_out):
            if len(side[label]) < 2:
                raise RequestError(f"`{label}` has {len(texts[label])} texts; too few to train on and to hold some out")
    return Split(train, held_out)


_TOKENS = bytes.maketrans(b"\n\r\x00", b"   ")
"""fastText ends a text at a newline."""


def lines_of(texts: pa.Array | pa.ChunkedArray, most_bytes: int) -> Iterator[str]:
    """Every text as fastText takes it: its first ``most_bytes`` bytes (whole characters), newlines as spaces, at the end one newline."""
    data, offsets = text_buffers(texts)
    ends = prefix_ends(data, offsets, most_bytes)
    for start, end in zip(offsets[:-1].tolist(), ends.tolist(), strict=True):
        yield data[start:end].tobytes().translate(_TOKENS).decode("utf-8") + "\n"


def training_lines(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """A line a text, as fastText reads them, labels mixed by the hash of the line."""
    lines = []
    for label in sorted(texts):
        column = pa.array(texts[label], pa.large_string())
        lines += [f"{LABEL_PREFIX}{label} {line}" for line in lines_of(column, PREFIX_BYTES)]
    return sorted(lines, key=lambda line: hashlib.blake2b(line.encode(), digest_size=8).digest())


def train(texts: Mapping[str, Sequence[str]], model: Path, options: TrainingOptions) -> None:
    """Train a model of ``texts`` by label and write it to ``model``; the same texts and options give the same bytes.

    Raises:
        RequestError: fastText failed, or the model cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        lines, trained = Path(folder) / "lines.txt", Path(folder) / "model.bin"
        with open(lines, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(training_lines(texts))
        command = [sys.executable, "-c", _PROGRAM, str(lines), str(trained), json.dumps(asdict(options))]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | _ZERO_MEMORY)
        if done.returncode:
            raise RequestError(f"fastText could not train: {done.stderr.strip().splitlines()[-1:]}")
        try:
            model.parent.mkdir(parents=True, exist_ok=True)
            # In one step: a process that has a large file mapped must not see it become shorter.
            written = model.with_name(f".{model.name}.{os.getpid()}")
            written.write_bytes(trained.read_bytes())
            written.replace(model)
        except OSError as error:
            raise RequestError(f"cannot write the model {model}: {error.strerror}") from None


_PROGRAM = """
import json, sys
import fasttext
lines, model, given = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
trained = fasttext.train_supervised(
    lines, thread=1, verbose=0, loss="softmax", dim=given["dim"], epoch=given["epochs"], lr=given["learning_rate"],
    wordNgrams=given["ngrams"], bucket=given["buckets"], minCount=given["min_count"], seed=given["seed"],
)
trained.save_model(model)
"""


class Report(NamedTuple):
    """What a model is worth on held-out texts of N documents.

    Attributes:
        documents: by label.
        accuracy: share whose most probable label is theirs.
        recall: the same by label.
        auc: chance that a text of the first label scores above one of another.
        calibration: (lowest score, documents, mean score, share with the label) by bin of the score.
        calibration_error: mean difference of score and share, weighted by documents.
        keep: (share to keep, lowest score kept, share of the label's texts kept, share of the others kept).
    """

    documents: dict[str, int]
    accuracy: float
    recall: dict[str, float]
    auc: float
    calibration: list[tuple[float, int, float, float]]
    calibration_error: float
    keep: list[tuple[float, float, float, float]]


def scores_of(model: Path, texts: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
    """(labels, float64[N, labels]) of the probabilities of every label, labels sorted, without prefix."""
    loaded = read_model(model)
    labels = sorted(label.removeprefix(LABEL_PREFIX) for label in loaded.labels)
    places = [loaded.labels.index(LABEL_PREFIX + label) for label in labels]
    data, offsets = text_buffers(pa.array(texts, pa.large_string()))
    found = loaded.predict(data, offsets, prefix_ends(data, offsets, PREFIX_BYTES), places)
    return labels, np.minimum(found.scores, 1.0)


def evaluate(
    model: Path,
    held_out: Mapping[str, Sequence[str]],
    label: str,
    corpus: Sequence[str] = (),
    keep: float | None = None,
) -> Report:
    """What ``model`` is worth on ``held_out`` texts by label, its score being the probability of ``label``.

    Thresholds for a share to keep are taken from the scores of ``corpus``, a sample of what will be filtered; without
    it, from the held-out texts.
    """
    names = sorted(held_out)
    texts = [text for name in names for text in held_out[name]]
    truth = np.repeat(names, [len(held_out[name]) for name in names])
    labels, scores = scores_of(model, texts)
    best = np.array(labels)[scores.argmax(axis=1)]
    score, good = scores[:, labels.index(label)], truth == label
    bins = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    calibration = []
    for k in np.unique(bins).tolist():
        inside = bins == k
        calibration.append((k / BINS, int(inside.sum()), float(score[inside].mean()), float(good[inside].mean())))
    error = sum(n * abs(mean - share) for _, n, mean, share in calibration) / len(texts)
    among = scores_of(model, corpus)[1][:, labels.index(label)] if corpus else score
    rows = []
    for share in sorted({*KEEP_SHARES, *([keep] if keep else [])}):
        least = threshold(among, share)
        rows.append((share, least, float((score[good] >= least).mean()), float((score[~good] >= least).mean())))
    return Report(
        {name: len(held_out[name]) for name in names},
        float((best == truth).mean()),
        {name: float((best[truth == name] == name).mean()) for name in names},
        _auc(score, good),
        calibration,
        float(error),
        rows,
    )


def threshold(scores: NDArray[np.float64], share: float) -> float:
    """The score, rounded down to 1e-4, at or above which about ``share`` of the documents are (never fewer)."""
    count = max(1, int(np.ceil(share * len(scores))))
    return float(np.floor(np.sort(scores)[-count] * 1e4) / 1e4)


def _auc(score: NDArray[np.float64], good: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks, ties counted half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    n, m = int(good.sum()), int((~good).sum())
    return float((ranks[inverse][good].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def as_dict(report: Report) -> dict[str, Any]:
    """The report for JSON, numbers rounded."""

    rounded: dict[str, Any] = json.loads(json.dumps(report._asdict()), parse_float=lambda text: round(float(text), 4))
    return rounded
