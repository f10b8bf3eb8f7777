"""The demo: a corpus from the text of the user's own Python environment, and a recipe that shows every stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from curate.base.errors import RequestError
from curate.recipe.file import yaml_text

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
# Documentation of code is no web text: it is short, and much of it is names and signs.
quality:
  thresholds:
    gopher_quality: {{min_doc_words: 30, max_non_alpha_words_ratio: 0.5}}
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
            recipe.write_text(recipe_text(found.inputs), encoding="utf-8")
        except OSError as error:
            raise RequestError(f"{recipe} cannot be written ({error.strerror or error}); name another folder") from None
    return recipe


def recipe_text(inputs: list[dict[str, str]]) -> str:
    """The recipe for a gathered corpus."""
    entries = "".join(f"  - {yaml_text({**entry, 'path': 'corpus/' + entry['path']})}\n" for entry in inputs)
    return _HEAD + entries + _REST
