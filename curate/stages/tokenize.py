"""The tokenize stage: token ids of every kept document, by a given or a trained tokenizer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.base import schemas
from curate.base.columns import IDs
from curate.base.errors import RequestError
from curate.engine.context import TaskContext
from curate.engine.reuse import Files, PreviousFiles, kept_rows, rows_key
from curate.engine.sample import SampleTask, read_sample, sample_size, sample_texts
from curate.engine.stage import Fit, Stage, StageRun
from curate.engine.task import PLACE, PREVIOUS, PartitionTask, Task
from curate.recipe import Recipe
from curate.storage.local import file_checksum
from curate.tables.snapshot import TableFile, TableRef, artefact_path, read_artefact
from curate.tokens.encoder import END_OF_TEXT, load, require_bos, require_eos, require_separator, train


def _settings(recipe: Recipe) -> Any:
    if recipe.tokenizer.path:
        check_tokenizer(recipe)
        # Where `pack.eos` names a token, the table tells the token's id: runs without a name keep their keys.
        named = {"eos": recipe.pack.eos} if isinstance(recipe.pack.eos, str) else {}
        return {"path": file_checksum(_given(recipe)), **named}
    for name, token in (("bos", recipe.pack.bos), ("eos", recipe.pack.eos)):
        if token not in (False, True, END_OF_TEXT):
            raise RequestError(
                f"pack.{name}: a tokenizer that is trained here has the control token {END_OF_TEXT} alone, not {token!r}; "
                f"write `{name}: true`, or give a tokenizer.path"
            )
    return {"train": recipe.tokenizer.train.model_dump(), "seed": recipe.seed}


def _given(recipe: Recipe) -> Path:
    path = Path(recipe.tokenizer.path or "")
    if not path.is_file():
        raise RequestError(
            f"tokenizer.path: {path} does not exist; name a Hugging Face tokenizer.json, or leave the key out to train one"
        )
    return path


def check_tokenizer(recipe: Recipe) -> None:
    """Raise RequestError when the given tokenizer cannot be used, before anything runs."""
    path = _given(recipe)
    encoder = load(str(path))
    require_bos(encoder, recipe.pack.bos, str(path))
    require_separator(encoder, recipe.pack.separator, str(path))
    if require_eos(encoder, recipe.pack.eos, str(path)) is None and "megatron" in recipe.shards.formats:
        raise RequestError(
            f"tokenizer.path: {path} has no end-of-text token, with which Megatron's windows are padded; leave `megatron` out of shards.formats"
        )


def _fit(run: StageRun) -> Fit:
    """The tokenizer as a file of the workspace: copied from the given path, or trained on a sample."""
    recipe, section = run.recipe, run.recipe.tokenizer.train
    if recipe.tokenizer.path:
        path = _given(recipe)
        task = CopyTokenizerTask(name="tokenizer", path=str(path), checksum=file_checksum(path))
        return Fit("tokenizer", {"path": task.checksum}, lambda: task)

    def train_task() -> Task:
        sample = sample_texts(run, section.sample_bytes, TokenizerSampleTask)
        return TrainTokenizerTask(
            name="tokenizer", sample=sample.ref, sample_bytes=section.sample_bytes, vocab_size=section.vocab_size
        )

    settings = {"train": section.model_dump(), "seed": recipe.seed}
    return Fit("tokenizer", settings, train_task, sample_size(run, section.sample_bytes))


@dataclass(frozen=True, kw_only=True)
class TokenizerSampleTask(SampleTask):
    """The texts of one partition that the tokenizer is trained on."""

    writes_with = "tokenizer_sample"


@dataclass(frozen=True, kw_only=True)
class CopyTokenizerTask(Task):
    """The given tokenizer, unchanged."""

    per = "one"
    grows_with = "fixed"

    path: str = field(metadata=PLACE)
    checksum: str

    def work(self, context: TaskContext) -> None:
        with context.new_file("artefacts", "tokenizer", ".json", 1) as local:
            local.write_bytes(Path(self.path).read_bytes())


@dataclass(frozen=True, kw_only=True)
class TrainTokenizerTask(Task):
    """A byte-level BPE trained on the sample, in one process."""

    per = "one"
    grows_with = "tokenizer_sample"
    writes_with = "fixed"
    opens = "partition"
    threads = True

    sample: TableRef
    sample_bytes: int
    vocab_size: int

    def work(self, context: TaskContext) -> None:
        texts = (text.as_py() for text in read_sample(context, self.sample, self.sample_bytes))
        with context.new_file("artefacts", "tokenizer", ".json", 1) as local:
            local.write_text(train(texts, self.vocab_size), encoding="utf-8")


def _tokenize(run: StageRun) -> None:
    file = run.model
    key = rows_key(run, {name: value for name, value in _settings(run.recipe).items() if name != "eos"})
    previous = PreviousFiles(run, ["kept"], key=key)
    tasks = [
        TokensTask(**part.fields, tokenizer=file, previous=previous.of(part), memory=part.memory(10))
        for part in run.partitions("kept")
    ]
    step = run.step("tokens", tasks)
    facts = _facts(run, step.values("encoder"))
    if why := facts.pop("why"):
        run.progress.say(f"tokenized with the tokenizers library, not the faster engine: {why}")
    run.commit("tokens", step.files("tokens"), step.counters, {"tokenizer": asdict(file), **facts}, key)


def _facts(run: StageRun, told: list[dict[str, Any]]) -> dict[str, Any]:
    """What is known of the tokenizer: from its tasks, since loading it takes a second."""
    path = str(artefact_path(run.storage, run.model))
    facts = dict(told[0]) if told else load(path).facts()
    if isinstance(run.recipe.pack.eos, str):
        facts["eos_id"] = require_eos(load(path), run.recipe.pack.eos, path)
    return facts


@dataclass(frozen=True, kw_only=True)
class TokensTask(PartitionTask):
    """Token ids of the kept documents of one partition."""

    grows_with = "kept_bytes"
    kernels = ("curate.tokens.pretokens:compile_kernels", "curate.base.text:compile_kernels")

    tokenizer: TableFile
    previous: Files | None = field(default=None, metadata=PREVIOUS)

    def work(self, context: TaskContext) -> None:
        encoder = read_artefact(context.storage, self.tokenizer, load)
        schema = schemas.tokens_schema(encoder.vocab_size)

        def encoded(ids: IDs, texts: pa.LargeStringArray) -> pa.Table:
            flat, offsets = encoder.encode(texts)
            values = pa.array(flat, schema.field("token_ids").type.value_type)
            lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)
            return pa.table({"doc_id": ids, "token_ids": lists, "n_tokens": np.diff(offsets).astype(np.uint32)})

        rows = kept_rows(context, "tokens", encoded, self.documents, self.files["kept"], self.previous)
        context.write_parts("tokens", schema, rows)
        context.value("encoder", encoder.facts())


TOKENIZE = Stage("tokenize", 1, ("documents", "verdicts", "kept"), ("tokens",), _settings, _tokenize, fits=_fit)
