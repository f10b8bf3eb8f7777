"""What of a long text is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from curate.relate.encoders import transformer
from curate.relate.encoders.transformer import SPREAD, TokenReader, slices


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 40))
def test_slices_lie_in_the_text_and_keep_their_size(n: int, size: int) -> None:
    for policy in ("first", "mean", "spread"):
        found = slices(n, policy, size)  # type: ignore[arg-type]
        assert all(0 <= start < stop <= n and stop - start <= size for start, stop in found)
        assert bool(found) == (n > 0)
    assert sum(stop - start for start, stop in slices(n, "mean", size)) == n
    spread = slices(n, "spread", size)
    assert len(spread) <= SPREAD
    if n:
        assert spread[0][0] == 0
        assert spread[-1][1] == n


@pytest.fixture
def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


@pytest.mark.parametrize("batch", [1, 40, 10_000])
def test_tokens_do_not_depend_on_parts_and_batches(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(transformer, "PART_CHARACTERS", 7)
    monkeypatch.setattr(transformer, "BATCH_CHARACTERS", batch)
    rng = np.random.default_rng(0)
    wanted = [rng.integers(0, 2, n).tolist() for n in (0, 1, 30, 3, 0, 12)]
    texts = [" ".join("ab"[token] for token in tokens) for tokens in wanted]
    found = list(TokenReader(tokenizer, "mean", 5).read(texts))
    assert [row for row, _ in found] == list(range(len(texts)))
    assert [ids.tolist() for _, ids in found] == wanted


def test_first_reads_no_more_than_it_needs(tokenizer: Tokenizer) -> None:
    ((_, ids),) = TokenReader(tokenizer, "first", 5).read(["a " * 10_000])
    assert 5 <= len(ids) < 200
    assert list(TokenReader(tokenizer, "first", 5).read([])) == []
