"""A first recipe from a look at the user's files: formats, fields and sizes, with the fields that most change commented."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.base.errors import InputError, RequestError
from curate.engine.finding import find
from curate.engine.heads import files_each
from curate.engine.opening import open_url
from curate.reading import formats
from curate.reading.records import Fields
from curate.recipe import Input
from curate.recipe.file import yaml_text
from curate.storage.interface import StorageOptions
from curate.tools.groups import absolute, find_groups, in_words
from curate.tools.look import Looked, look

if TYPE_CHECKING:
    from curate.quality.training import TrainingOptions


def write_recipe(folder: str | Path, inputs: Sequence[str]) -> tuple[Path, list[str]]:
    """Write ``folder``/recipe.yaml for the inputs; returns its path and what was seen, line by line.

    Raises:
        RequestError: there is a recipe already, or the folder cannot be written.
        InputError: an input does not exist, holds no file of a known type, or no field that looks like text.
    """
    place = Path(folder) / "recipe.yaml"
    if place.exists():
        raise RequestError(f"{place} exists already and is not overwritten; edit it, move it, or name another folder")
    options = StorageOptions.from_environment()
    found = find_groups(inputs, options)
    most = files_each(len(found.groups))
    looked, left_out, taken = [], [], {group.source for group in found.groups}
    for group in found.groups:
        try:
            looked += look(group, most, options, taken)
        except InputError as error:
            left_out.append(str(error))
    if not looked:
        raise InputError("\n".join(left_out))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            file.write(recipe_text(Path(folder).resolve().name, looked, left_out, place.parent.resolve()))
    except OSError as error:
        raise RequestError(f"{place} cannot be written: {error.strerror or error}") from None
    notes = [line for one in looked for line in (f"{one.group.source}: {one.files}", *(f"  {n}" for n in one.notes))]
    notes += [f"left out: {why}" for why in left_out]
    if found.passed_over:
        number = sum(found.passed_over.values())
        notes.append(f"passed over, of no known type: {number:,} files ({in_words(found.passed_over)})")
    return place, notes


def recipe_text(name: str, looked: Sequence[Looked], left_out: Sequence[str], base: Path) -> str:
    """The recipe as YAML with comments; paths below ``base`` are relative to it."""
    lines = [line for one in looked for line in _input_lines(one, base)]
    listed = "\n".join([*lines, *(f"  # left out: {' '.join(why.split())}" for why in left_out)])
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name) or "corpus"
    return f"""\
# A recipe for curate. Only `inputs` is required; `curate schema` prints every field with its default.
#   curate check recipe.yaml     what a run would do
#   curate run recipe.yaml       runs what is missing; after any change it runs only what the change touches
name: {yaml_text(safe)}
workspace: ./runs/{{name}}        # every table and the shards; a folder or s3://bucket/prefix

inputs:
{listed}

quality:
  # languages: [en]                              # keep these languages only; empty: any
  preset: default                                # removes junk of any kind; gopher, c4, fineweb: rules for English web pages
# alarms: {{action: stop}}                         # stop where a step removes most of a source; by default it is said
dedup:
  near: {{threshold: 0.8}}                         # true Jaccard similarity of word 5-grams; `near: off` keeps near duplicates
tokenizer:
  train: {{vocab_size: 32000}}                     # or `path: tokenizer.json` to use yours
order: {{method: related}}                         # related documents follow each other; or icp, source, random
pack: {{window: 8192, method: related}}            # tokens of a context window
shards: {{formats: [parquet]}}                     # also mds, megatron, numpy, webdataset
"""


def _input_lines(one: Looked, base: Path) -> Iterator[str]:
    """The lines of a recipe for one group: what was seen, as comments, and an input for each of its paths."""
    for note in (one.files, *one.notes, *_proposals(one)):
        yield f"  # {note}"
    for named in one.group.paths:
        place = Path(named)
        path = place.relative_to(base).as_posix() if place.is_relative_to(base) else named
        keys = {"source": one.group.source, "path": path}
        for field, value in (("text_field", one.text_field), ("id_field", one.id_field)):
            if value not in (None, field.removesuffix("_field")):
                keys[field] = str(value)
        if one.guess.kind != "any":
            keys["kind"] = one.guess.kind
        yield "  - {" + ", ".join(f"{key}: {yaml_text(value)}" for key, value in keys.items()) + "}"


def _proposals(one: Looked) -> Iterator[str]:
    """What the recipe proposes for a group, and why."""
    kind = one.guess.kind
    yield "rules: the default ones" + (f", with the limits for {kind}" if kind != "any" else "")
    if kind == "web" and one.languages.get("en", 0) > 0.9:
        yield "for English web pages, `quality: {preset: fineweb}` here would remove more, as FineWeb does"
    first, part = next(iter(one.languages.items()), ("", 0.0))
    if 0.5 <= part < 1:
        yield f"to keep one language, add `quality: {{languages: [{first}]}}` here"


VOCAB_SIZE = 8_192
WINDOW = 4_096
"""Small enough that the demo ends in under three minutes on two cores, large enough that windows hold several documents."""

_HEAD = """\
# The recipe of `curate demo`: text that comes with this Python environment, through every stage.
# Change a line and repeat the command: only what the change touches is run again. `curate schema` lists every field.
name: demo
workspace: ./run
engine: ray

inputs:
"""

_REST = f"""
# The rules remove junk of any kind; `preset: gopher` would remove most of this, for it is no web text.
quality: {{preset: default, kind: documentation}}
tokenizer:
  train: {{vocab_size: {VOCAB_SIZE}}}
cluster: {{cell_size: 200}}
# Long documents are seen more often than short ones.
upsample: {{method: per_source, long_tokens: {WINDOW}, long_share: 0.5, max_copies: 3}}
pack: {{window: {WINDOW}, method: related}}
shards: {{formats: [parquet, mds, megatron], windows_per_shard: 512}}
"""


def prepare(folder: str | Path, say: Callable[[str], None]) -> Path:
    """Gather the corpus into ``folder``/corpus and write ``folder``/recipe.yaml; returns the recipe's path.

    Gathering again writes the same files. An existing recipe stays as it is.

    Raises:
        RequestError: the folder cannot be used.
    """
    from curate.reading.demo import gather

    place = Path(folder)
    recipe = place / "recipe.yaml"
    if place.exists() and not place.is_dir():
        raise RequestError(f"{place} is a file; name a folder: `curate demo DIR`")
    say(f"gathering the text of this Python environment into {place / 'corpus'}")
    found = gather(place / "corpus")
    documents, size = sum(found.documents.values()), sum(found.text_bytes.values())
    counts = ", ".join(f"{number:,} {source}" for source, number in found.documents.items())
    say(
        f"{documents:,} documents, {size / 1e6:.1f} MB of text from {found.packages:,} packages: {counts}; "
        f"{found.bad_records} bad records on purpose"
    )
    if not recipe.exists():
        try:
            recipe.write_text(demo_recipe_text(found.inputs), encoding="utf-8")
        except OSError as error:
            raise RequestError(f"{recipe} cannot be written ({error.strerror or error}); name another folder") from None
    return recipe


def demo_recipe_text(inputs: list[dict[str, str]]) -> str:
    """The recipe for a gathered corpus."""
    entries = "".join(f"  - {yaml_text({**entry, 'path': 'corpus/' + entry['path']})}\n" for entry in inputs)
    return _HEAD + entries + _REST


def texts_of(path: str, text_field: str = "text") -> Iterator[str]:
    """The texts of a file, folder or pattern, in the order of the files; records that cannot be read are left out.

    Raises:
        InputError: nothing is found.
    """
    empty, options = True, StorageOptions.from_environment()
    files = find(Input(source="texts", path=absolute(path)), 0, options)
    for file in sorted(files, key=lambda file: file.path.encode("utf-8", "surrogateescape")):
        with open_url(file.url, options) as opened:
            for batch in formats.read(opened, file.url, Fields(text_field)):
                empty = empty and not len(batch.texts)
                yield from batch.texts.to_pylist()
    if empty:
        raise InputError(f"{path}: no text was found in the field {text_field!r}")


def train_classifier(
    places: dict[str, list[str]],
    model: Path,
    options: TrainingOptions,
    *,
    label: str,
    text_field: str = "text",
    sample: Sequence[str] = (),
    keep: float | None = None,
) -> dict[str, Any]:
    """Train on the texts at ``places`` by label, write the model, and measure it on texts that were held out.

    Raises:
        RequestError: texts are too few, or the model cannot be written.
    """
    from curate.quality.training import as_dict, evaluate, split, train

    if len(places) < 2:
        raise RequestError("give texts of at least two labels: --positive and --negative, or --label NAME=PATH twice")
    if label not in places:
        raise RequestError(f"no texts of the label `{label}`; there are {', '.join(sorted(places))}")
    texts = {name: [text for path in paths for text in texts_of(path, text_field)] for name, paths in places.items()}
    parts = split(texts, options)
    train(parts.train, model, options)
    corpus = [text for path in sample for text in texts_of(path, text_field)]
    report = evaluate(model, parts.held_out, label, corpus, keep)
    chosen = next((row for row in report.keep if keep is not None and row[0] == keep), None)
    return {
        "model": str(model),
        "label": label,
        "trained_on": {name: len(one) for name, one in parts.train.items()},
        "held_out": as_dict(report),
        "thresholds_from": "sample" if corpus else "held-out texts",
        "min_score": chosen[1] if chosen else 0.5,
    }
