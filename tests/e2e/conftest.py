"""The corpus of the end-to-end tests and the shards that the inline engine makes of it, once for all of them."""

from __future__ import annotations

import pytest

from tests.corpus import write_corpus
from tests.e2e.pipeline import curate, shard_bytes, whole_recipe, write_recipe


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text")


@pytest.fixture(scope="session")
def reference(corpus, tmp_path_factory):
    """Digests of the shards of the inline engine."""
    folder = tmp_path_factory.mktemp("reference")
    recipe = write_recipe(folder / "recipe.yaml", whole_recipe(corpus, folder / "run"))
    curate("run", str(recipe))
    return shard_bytes(folder / "run")
