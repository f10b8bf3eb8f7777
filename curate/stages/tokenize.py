"""The tokenize stage: token ids of every kept document, by a given or a trained tokenizer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.base import schemas
from curate.base.errors import RequestError
from curate.engine.fit import Fit
from curate.engine.reuse import SPANS, remaining_rows, rows_key, with_former
from curate.engine.sample import iterate, read_sample, sample_size, sample_texts
from curate.engine.stage import Spec, Stage, StageRun, partition_specs
from curate.engine.tasks import TaskContext
from curate.recipe import Recipe, cuts_paragraphs
from curate.storage.local import file_checksum
from curate.tables.artefact import artefact_path, read_artefact
from curate.tables.partition import SURVIVORS, IDs
from curate.tables.snapshot import TableFile
from curate.tokens.encoder import END_OF_TEXT, Encoder, load, require_bos, require_eos, require_separator, train


def _settings(recipe: Recipe) -> Any:
    if recipe.tokenizer.path:
        check_tokenizer(recipe)
        return {"path": file_checksum(_given(recipe)), "cut": cuts_paragraphs(recipe), **_named_end(recipe)}
    for name, token in (("bos", recipe.pack.bos), ("eos", recipe.pack.eos)):
        if token not in (False, True, END_OF_TEXT):
            raise RequestError(
                f"pack.{name}: a tokenizer that is trained here has the control token {END_OF_TEXT} alone, not {token!r}; "
                f"write `{name}: true`, or give a tokenizer.path"
            )
    return {"cut": cuts_paragraphs(recipe), "train": recipe.tokenizer.train.model_dump(), "seed": recipe.seed}


def _named_end(recipe: Recipe) -> dict[str, str]:
    """``pack.eos`` where it names a token, as the table tells the token's id: runs without a name keep their keys."""
    return {"eos": recipe.pack.eos} if isinstance(recipe.pack.eos, str) else {}


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
        path, checksum = str(_given(recipe)), file_checksum(_given(recipe))
        spec = Spec("tokenizer", [checksum], {"path": path})
        return Fit("tokenizer", {"path": checksum}, copy_tokenizer_task, lambda: spec)

    def train_spec() -> Spec:
        sample = sample_texts(run, section.sample_bytes)
        return Spec(
            "tokenizer",
            [sample.content],
            {"sample": sample.path, "sample_bytes": section.sample_bytes, "vocab_size": section.vocab_size},
        )

    settings = {"train": section.model_dump(), "seed": recipe.seed}
    return Fit("tokenizer", settings, train_tokenizer_task, train_spec, sample_size(run, section.sample_bytes))


def copy_tokenizer_task(context: TaskContext, path: str) -> None:
    """The given tokenizer, unchanged."""
    local = context.scratch_file()
    local.write_bytes(Path(path).read_bytes())
    context.add("artefacts", "tokenizer", ".json", local, 1)


def train_tokenizer_task(context: TaskContext, sample: str, sample_bytes: int, vocab_size: int) -> None:
    """A byte-level BPE trained on the sample, in one process."""
    local = context.scratch_file()
    local.write_text(train(iterate(read_sample(context, sample, sample_bytes)), vocab_size), encoding="utf-8")
    context.add("artefacts", "tokenizer", ".json", local, 1)


def open_encoder(context: TaskContext, file: TableFile | dict[str, Any]) -> Encoder:
    """The tokenizer of the run, loaded once per process."""
    return read_artefact(context.storage, file, _load_encoder)


def _load_encoder(data: bytes, path: Path) -> Encoder:
    return load(str(path))


def _tokenize(run: StageRun) -> None:
    file, tables = run.model, run.tables
    sidecars = {name: tables[name] for name in SURVIVORS}
    params = {"tokenizer": asdict(file), "cut": cuts_paragraphs(run.recipe)}
    specs = partition_specs(tables["documents"], sidecars, params, [file.checksum], memory_factor=10)
    key = rows_key(run, {name: value for name, value in _settings(run.recipe).items() if name != "eos"})
    step = run.step("tokens", tokens_task, with_former(run, specs, SPANS, key=key))
    # Loading takes a second, and the tasks have done it; those of an earlier release have not told.
    told = (record.values["encoder"] for record in step.records if "encoder" in record.values)
    facts = next(told, None) or load(str(artefact_path(run.storage, file))).facts()
    if isinstance(run.recipe.pack.eos, str):
        path = str(artefact_path(run.storage, file))
        facts["eos_id"] = require_eos(load(path), run.recipe.pack.eos, path)
    if why := facts.pop("why"):
        run.progress.say(f"tokenized with the tokenizers library, not the faster engine: {why}")
    run.commit("tokens", step.files("tokens"), step.counters, {"tokenizer": asdict(file), **facts}, key)


def tokens_task(context: TaskContext, tokenizer: Any, **partition: Any) -> None:
    """Token ids of the kept documents of one partition."""
    encoder = open_encoder(context, tokenizer)
    schema = schemas.tokens_schema(encoder.vocab_size)

    def encoded(ids: IDs, texts: pa.LargeStringArray) -> pa.Table:
        flat, offsets = encoder.encode(texts)
        lists = pa.LargeListArray.from_arrays(
            pa.array(offsets, pa.int64()), pa.array(flat, schema.field("token_ids").type.value_type)
        )
        return pa.table(
            {"doc_id": pa.array(ids), "token_ids": lists, "n_tokens": pa.array(np.diff(offsets).astype(np.uint32))}
        )

    with context.writer("tokens", schema) as writer:
        for rows in remaining_rows(context, "tokens", encoded, **partition):
            writer.write(rows)
            context.count("documents", rows.num_rows)
            context.count("tokens", pc.sum(rows["n_tokens"]).as_py() or 0)
    context.value("encoder", encoder.facts())


TOKENIZE = Stage("tokenize", 2, ("documents", *SURVIVORS), ("tokens",), _settings, _tokenize, fits=_fit)
