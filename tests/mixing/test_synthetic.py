"""Examples of long-range tasks: spans of their sources, answers that are right, places that fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.mixing.synthetic import MOST_REORDERED, PROMPTS, TASKS, block_bounds, build, marks, prompt_texts, prompts

LINE, WORDS = 0, 400
PROMPT = 1_000  # prompt p is one token, PROMPT + p

MARKS = marks(
    ["Ċ", *(f"Ġword{'x' * (i % 5)}" for i in range(WORDS)), *["?"] * 700],
    ["\n", *(" " + "abcdefghij"[: 3 + i % 5] for i in range(WORDS)), *["?"] * 700],
)
TEXTS = prompts([np.array([PROMPT + i]) for i in range(len(prompt_texts()))], None)
LABELS = PROMPT + len(PROMPTS)

sources = st.builds(
    lambda n, seed, every: np.where(
        np.arange(n) % every == every - 1, LINE, np.random.default_rng(seed).integers(1, WORDS + 1, n)
    ).astype(np.uint16),
    st.integers(1, 3_000),
    st.integers(0, 50),
    st.sampled_from([7, 20, 45, 90, 10_000]),
)
keys = st.integers(0, 2**64 - 1)


def made(source, key, task, room):
    return build(source, key, [task], room, MARKS, TEXTS)


@given(sources, st.integers(1, 60), st.integers(0, 100))
def test_blocks_are_a_partition_of_bounded_pieces(source, least, more):
    most = 2 * least + more
    bounds = block_bounds(source, MARKS.ends_line, least, most)
    sizes = np.diff(bounds)
    assert bounds[0] == 0
    assert bounds[-1] == len(source)
    assert (sizes > 0).all()
    assert sizes.max() <= most
    assert (sizes[:-1] >= least).all()


def test_a_block_ends_behind_its_empty_lines():
    ids = np.array([5, 5, 5, LINE, LINE, 5, 5, LINE, 5, 5, 5, 5], np.uint16)
    assert block_bounds(ids, MARKS.ends_line, 2, 100).tolist() == [0, 5, 8, 12]
    assert block_bounds(ids, MARKS.ends_line, 2, 4).tolist() == [0, 4, 8, 12]


@given(sources, keys, st.sampled_from(TASKS), st.integers(256, 2_000))
@settings(max_examples=300)
def test_an_example_fits_and_consists_of_spans_of_its_source_and_prompts(source, key, task, room):
    one = made(source, key, task, room)
    if one is None:
        return
    assert len(one.tokens) <= room
    covered = np.zeros(len(one.tokens), np.bool_)
    for at, start, length in zip(one.at, one.start, one.length, strict=True):
        np.testing.assert_array_equal(one.tokens[at : at + length], source[start : start + length])
        assert not covered[at : at + length].any()
        covered[at : at + length] = True
    assert (one.tokens[~covered] >= PROMPT).all()
    again = made(source, key, task, room)
    assert again is not None
    np.testing.assert_array_equal(again.tokens, one.tokens)


@given(sources, keys, st.integers(256, 2_000))
def test_the_gap_belongs_between_what_is_before_and_after_it(source, key, room):
    one = made(source, key, "fill_in_the_middle", room)
    if one is not None:
        before, after, gap = zip(one.start, one.start + one.length, strict=True)
        assert before[1] == gap[0] < gap[1] == after[0]
        assert gap[1] - gap[0] <= max(512, (after[1] - before[0]) // 8)


@given(sources, keys, st.integers(256, 2_000))
def test_the_numbers_put_the_paragraphs_in_order(source, key, room):
    one = made(source, key, "paragraph_reordering", room)
    if one is None:
        return
    answer = one.tokens[one.at[-1] + one.length[-1] + 1 :] - LABELS - MOST_REORDERED
    assert sorted(answer) == list(range(len(one.at)))
    starts = one.start[answer]
    assert (np.diff(starts) > 0).all()
    assert (starts[1:] == starts[:-1] + one.length[answer][:-1]).all()
    assert (np.diff(one.start) < 0).any(), "the paragraphs are out of order"


@given(sources, keys, st.integers(256, 2_000))
def test_the_word_is_in_one_paragraph_which_is_the_answer(source, key, room):
    one = made(source, key, "keyword_retrieval", room)
    if one is None:
        return
    (start, word, answer), stop = one.start, one.start + one.length
    text = source[start : stop[0]].tolist()
    assert any(text.count(token) == 1 for token in source[word : stop[1]])
    assert answer <= word < stop[1] <= stop[2]


@given(sources, keys, st.integers(256, 2_000))
def test_the_answer_follows_the_paragraph_that_begins_so(source, key, room):
    one = made(source, key, "position_retrieval", room)
    if one is None:
        return
    (start, quote, answer), stop = one.start, one.start + one.length
    assert start <= quote < answer < stop[2] <= stop[0]
    assert answer - quote <= min(512, room // 8)


def test_a_task_that_a_text_does_not_suit_gives_way_to_another():
    same = np.full(3_000, 7, np.uint16)
    same[49::50] = LINE
    assert made(same, 1, "keyword_retrieval", 1_024) is None, "no word occurs once"
    assert made(same, 1, "position_retrieval", 1_024) is None, "no paragraph has its own beginning"
    assert {build(same, key, TASKS, 1_024, MARKS, TEXTS).task for key in range(40)} == set(TASKS[:2])
    assert build(same[:20], 1, TASKS, 1_024, MARKS, TEXTS) is None


def test_every_task_is_drawn_and_long_texts_give_runs_from_everywhere():
    source = np.random.default_rng(1).integers(1, WORDS + 1, 50_000).astype(np.uint16)
    source[44::45] = LINE
    made_of = [build(source, key, TASKS, 512, MARKS, TEXTS) for key in range(80)]
    assert {one.task for one in made_of} == set(TASKS)
    first = np.array([one.start.min() for one in made_of])
    assert first.min() < 10_000
    assert first.max() > 40_000


def test_tokens_for_filling_in_take_the_place_of_prompts():
    source = np.tile(np.append(np.arange(1, 45), LINE), 20).astype(np.uint16)
    special = prompts([np.array([PROMPT + i]) for i in range(len(prompt_texts()))], [901, 902, 903])
    one = build(source, 3, ["fill_in_the_middle"], 512, MARKS, special)
    assert one is not None
    assert sorted(one.tokens[one.tokens > 900]) == [901, 902, 903]
    assert one.tokens[0] == 901


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_ids_keep_their_type(dtype):
    source = np.tile(np.append(np.arange(1, 45), LINE), 20).astype(dtype)
    assert made(source, 5, "paragraph_reordering", 512).tokens.dtype == dtype
