"""Identity: doc_ids, units, ordinals over generations, patterns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.base.errors import InputError
from curate.base.ids import MAX_ORDINAL, MAX_POSITION, default_id, doc_id, doc_ids
from curate.reading import units as subject
from curate.reading.units import InputFile, Unit, assign_ordinals, matches, pattern_prefix, relative_path, units


def file(path: str, size: int = 10, etag: str = "e", source: str = "s") -> InputFile:
    return InputFile(source, path, f"/data/{source}/{path}", size, etag)


def shape(found: list[Unit]) -> list[tuple[int, str, list[str]]]:
    return [(unit.ordinal, unit.source, [one.path for one in unit.files]) for unit in found]


def test_small_files_are_grouped_and_large_ones_alone() -> None:
    files = [
        file("a", 40),
        file("b", 60),
        file("c", 1),
        file("d", 500),
        file("e", 5),
        file("f", 5),
        file("a", 1, source="r"),
    ]
    assert shape(units(files, group_bytes=100)) == [
        (0, "r", ["a"]),
        (1, "s", ["a", "b"]),
        (2, "s", ["c"]),
        (3, "s", ["d"]),
        (4, "s", ["e", "f"]),
    ]


def test_files_are_sorted_as_utf8_bytes() -> None:
    names = ["b", "Z", "ä", "a/b", "a-b", "\U00010000", "\uffff"]
    (unit,) = units([file(name) for name in names])
    assert [one.path for one in unit.files] == ["Z", "a-b", "a/b", "b", "ä", "\uffff", "\U00010000"]


FILES = st.lists(
    st.builds(
        file, st.text("abc/", min_size=1, max_size=3), st.integers(0, 60), st.sampled_from("ef"), st.sampled_from("rs")
    ),
    max_size=12,
)


@given(FILES, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_units_depend_on_the_set_of_files_alone(files: list[InputFile], random: object) -> None:
    shuffled = [*files, *files]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert units(shuffled, 100) == units(files, 100)


@given(FILES, FILES)
@settings(deadline=None)
def test_ordinals_over_generations(before: list[InputFile], after: list[InputFile]) -> None:
    first = units(before, 100)
    done = assign_ordinals(first, after, 100)
    # What is present is what was found, each file once; ordinals are never given twice.
    present = [one for unit in done.units for one in unit.present]
    assert sorted(present) == sorted(one for unit in units(after, 100) for one in unit.files)
    assert [unit.ordinal for unit in done.units] == list(range(len(done.units)))
    # Known units keep their files and places.
    for old, now in zip(first, done.units, strict=False):
        assert [one.identity for one in now.files] == [one.identity for one in old.files]
    # The same inputs again change nothing; the old ones again bring everything back.
    again = assign_ordinals(done.units, after, 100)
    assert (again.units, again.new, again.changed, again.missing) == (done.units, [], [], [])
    back = assign_ordinals(done.units, before, 100)
    assert all(unit.gone == () for unit in back.units[: len(first)])
    assert back.new == []


def test_changed_new_and_missing_files() -> None:
    known = units([file("a"), file("b"), file("c"), file("d")])
    found = [file("a"), file("b", etag="other"), file("c", size=11), file("e")]
    done = assign_ordinals(known, found)
    assert shape(done.units) == [(0, "s", ["a", "b", "c", "d"]), (1, "s", ["b", "c", "e"])]
    assert done.units[0].gone == (1, 2, 3)
    assert [one.path for one in done.units[0].present] == ["a"]
    assert done.new == done.units[1:]
    assert ([one.path for one in done.changed], [one.path for one in done.missing]) == (["b", "c"], ["d"])
    # What was gone before is not reported again, and a vanished unit keeps its ordinal.
    later = assign_ordinals(done.units, [file("z")])
    assert [one.path for one in later.missing] == ["a", "b", "c", "e"]
    assert shape(later.new) == [(2, "s", ["z"])]


def test_a_moved_corpus_is_the_same_corpus() -> None:
    known = units([file("a"), file("b")])
    moved = [one._replace(url=f"s3://bucket/{one.path}") for one in (file("a"), file("b"))]
    done = assign_ordinals(known, moved)
    assert (done.new, done.changed, done.missing) == ([], [], [])
    assert [one.url for one in done.units[0].files] == ["s3://bucket/a", "s3://bucket/b"]


def test_a_file_that_two_patterns_find_is_read_once() -> None:
    twice = [file("web/a"), InputFile("s", "a", "/data/s/web/a", 10, "e")]
    assert shape(units(twice)) == [(0, "s", ["a"])]
    assert assign_ordinals(units(twice), twice).new == []


def test_doc_ids() -> None:
    positions = np.array([0, 1, MAX_POSITION], np.int64)
    ids = doc_ids(MAX_ORDINAL, positions)
    assert ids.dtype == np.uint64
    assert ids.tolist() == [doc_id(MAX_ORDINAL, int(position)) for position in positions]
    assert len({*ids.tolist()}) == len(positions)
    assert int(ids[-1]) == 2**63 - 1
    assert doc_id(1, 2) == (1 << 36) + 2
    assert doc_ids(3, np.zeros(0, np.int64)).tolist() == []


@pytest.mark.parametrize(("ordinal", "position"), [(MAX_ORDINAL + 1, 0), (0, MAX_POSITION + 1), (-1, 0)])
def test_doc_ids_that_do_not_fit_are_errors(ordinal: int, position: int) -> None:
    with pytest.raises(InputError):
        doc_id(ordinal, position)
    with pytest.raises(InputError):
        doc_ids(ordinal, np.array([position], np.int64))


def test_negative_positions_are_errors() -> None:
    with pytest.raises(ValueError, match="negative"):
        doc_ids(0, np.array([-1, 3], np.int64))


def test_too_many_units_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_ORDINAL", 2)
    assert len(units([file(name, 100) for name in "abc"], group_bytes=1)) == 3
    with pytest.raises(InputError, match="new workspace"):
        units([file(name, 100) for name in "abcd"], group_bytes=1)
    with pytest.raises(InputError):
        units([file("a")], first_ordinal=3)


def test_default_id() -> None:
    assert default_id("web", "a/b.jsonl", 7) == "web/a/b.jsonl#7"


@pytest.mark.parametrize(
    ("pattern", "path", "prefix", "relative"),
    [
        ("data/web/*.jsonl", "data/web/a.jsonl", "data/web/", "a.jsonl"),
        ("data/web/part-*.jsonl", "data/web/part-1.jsonl", "data/web/", "part-1.jsonl"),
        ("data/**/*.jsonl", "data/x/y/a.jsonl", "data/", "x/y/a.jsonl"),
        ("/home/me/d?/a.txt", "/home/me/d1/a.txt", "/home/me/", "d1/a.txt"),
        ("s3://bucket/books/*.parquet", "s3://bucket/books/a.parquet", "s3://bucket/books/", "a.parquet"),
        ("*.jsonl", "a.jsonl", "", "a.jsonl"),
        ("data/a.jsonl", "data/a.jsonl", "data/", "a.jsonl"),
        ("a.jsonl", "a.jsonl", "", "a.jsonl"),
        ("data", "data/x/a.txt", "", "x/a.txt"),
        ("/home/me/data/", "/home/me/data/x/a.txt", "/home/me/data/", "x/a.txt"),
    ],
)
def test_paths_below_the_pattern(pattern: str, path: str, prefix: str, relative: str) -> None:
    assert matches(pattern, path)
    assert pattern_prefix(pattern) == prefix
    assert relative_path(pattern, path) == relative


@pytest.mark.parametrize(
    ("pattern", "path"), [("data/*.txt", "other/a.txt"), ("data", "database/a.txt"), ("data/", "data/")]
)
def test_a_path_from_elsewhere_is_an_error(pattern: str, path: str) -> None:
    with pytest.raises(ValueError, match="does not come from"):
        relative_path(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a/*.txt", "a/b/c.txt", False),
        ("a/*", "a/b", True),
        ("a/**", "a/b/c.txt", True),
        ("a/**/c.txt", "a/c.txt", True),
        ("a/**/c.txt", "a/xc.txt", False),
        ("**/c.txt", "c.txt", True),
        ("a/?.txt", "a/bb.txt", False),
        ("a/?.txt", "a//.txt", False),
        ("a/[bc].txt", "a/b.txt", True),
        ("a/[!bc].txt", "a/b.txt", False),
        ("a/[!bc].txt", "a/d.txt", True),
        ("a[!b]c", "a/c", False),
        ("a/[[]x].txt", "a/[x].txt", True),
        ("a/[^b].txt", "a/^.txt", True),
        ("a/x+(1).*", "a/x+(1).txt", True),
        ("a/*.txt", "a/b.txtx", False),
        ("a/b.txt", "a/b.txt", True),
        ("a/b.txt", "a/bxtxt", False),
        ("a", "a/b/c.txt", True),
        ("a", "ab", False),
        ("a/", "a/", False),
        ("a/**", "a/b/", False),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected
