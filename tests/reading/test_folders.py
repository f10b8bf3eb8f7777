"""What the names in a folder say."""

from __future__ import annotations

import json

import pytest

from curate.reading.folders import belongs_to_folder, describes_data, partition_values, with_values


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.parquet", {}),
        ("lang=en/year=2024/a.parquet", {"lang": "en", "year": 2024}),
        ("lang=en/x=1.jsonl", {"lang": "en"}),
        ("k=a%20b%2Fc/a.jsonl", {"k": "a b/c"}),
        ("k=__HIVE_DEFAULT_PARTITION__/a.jsonl", {}),
        ("k=/a.jsonl", {"k": ""}),
        ("month=05/day=-3/a.jsonl", {"month": 5, "day": -3}),
        ("k=a=b/a.jsonl", {"k": "a=b"}),
        ("=x/1=2/a.jsonl", {}),
        ("n=12345678901234567890/a.jsonl", {"n": "12345678901234567890"}),
    ],
)
def test_partitions(path: str, expected: dict[str, object]) -> None:
    assert partition_values(path) == expected


def test_values_join_the_meta_and_change_nothing_in_it() -> None:
    metas = [None, '{"a":1.50}', '{"lang":"de"}', '{"x":{"lang":"de"}}', '{"lang":"de","year":1}']
    added = with_values(metas, {"lang": "en", "year": 2024})
    assert added == [
        '{"lang":"en","year":2024}',
        '{"a":1.50,"lang":"en","year":2024}',
        '{"lang":"de","year":2024}',
        '{"x":{"lang":"de"},"lang":"en","year":2024}',
        '{"lang":"de","year":1}',
    ]
    assert all(json.loads(meta or "") for meta in added)
    assert with_values(metas, {}) == metas


def test_cards_and_marks() -> None:
    cards = [
        "README.md",
        "a/readme.txt",
        "LICENSE.txt",
        "LICENCE.md",
        "dataset_infos.json",
        "state.json",
        "README.zh-CN.md",
    ]
    others = ["notes.md", "readme/a.md", "licensed-plays.txt", "states.json", "train.json", "reading.md"]
    assert [path for path in [*cards, *others] if describes_data(path)] == cards
    assert belongs_to_folder("d/_delta_log/0.json")
    assert belongs_to_folder("_metadata.json")
    assert not belongs_to_folder("d/_year=2024/a.parquet")
    assert not belongs_to_folder("a_b/c_d.parquet")
