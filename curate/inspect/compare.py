"""``curate compare``: differences between two runs: recipes, ends of their records and why, and measures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from curate.inspect.reader import RunReader
from curate.inspect.stats import collect
from curate.recipe.paths import essential_recipe

EXAMPLES = 3
ABSENT = "no such record"
NOT_KEPT = ("removed", "rejected")


def compare(first: RunReader, second: RunReader) -> dict[str, Any]:
    """What differs from ``first`` to ``second``, as plain values.

    Keys: first, second (names), recipe ({field, first, second} of every setting that differs), matched_by, records,
    kept (both, only first, only second), changes ({first, second, records, examples} of every other end, most frequent
    first), measures ({name, first, second}).

    Records are matched by doc_id where both runs read the same inputs, else by source and id; those that share an id, in
    the order of the input.

    Raises:
        RequestError: one of the runs was stopped before its ledger.
    """
    for run in (first, second):
        run.snapshot("ledger")
    by_doc_id = _units(first) == _units(second)
    keys = ["doc_id"] if by_doc_id else ["source", "id", "nth"]
    left, right = (_ends(run, keys, number) for number, run in enumerate((first, second), 1))
    ends = (
        left.join(right, on=keys, how="full", coalesce=True)
        .with_columns(pl.col("end_1", "end_2").fill_null(ABSENT))
        .with_columns(pl.coalesce("id_1", "id_2").alias("example"))
    )
    counted = (
        ends.group_by("end_1", "end_2")
        .agg(pl.len().cast(pl.Int64).alias("records"), pl.col("example").sort().head(EXAMPLES).alias("examples"))
        .sort(["records", "end_1", "end_2"], descending=[True, False, False])
        .collect(engine="streaming")
        .to_dicts()
    )

    def records(kept_first: bool, kept_second: bool) -> int:
        return sum(
            one["records"]
            for one in counted
            if (one["end_1"] == "kept", one["end_2"] == "kept") == (kept_first, kept_second)
        )

    return {
        "first": first.name,
        "second": second.name,
        "recipe": _settings(first, second),
        "matched_by": "doc_id" if by_doc_id else "source and id",
        "records": {"first": first.snapshots["ledger"].rows, "second": second.snapshots["ledger"].rows},
        "kept": {"both": records(True, True), "only first": records(True, False), "only second": records(False, True)},
        "changes": [
            {"first": one["end_1"], "second": one["end_2"], "records": one["records"], "examples": one["examples"]}
            for one in counted
            if one["end_1"] != one["end_2"]
        ],
        "measures": _measures(first, second),
    }


def _units(run: RunReader) -> list[Any]:
    """The input units that the doc_ids of a run number."""
    units = run.snapshot("documents").details.get("units", [])
    return [[unit["ordinal"], unit["source"], unit["files"], unit["gone"]] for unit in units]


def _ends(run: RunReader, keys: list[str], number: int) -> pl.LazyFrame:
    """The key columns of every record, its end in words, and its id."""
    removed = pl.concat_str("status", pl.lit(": "), pl.coalesce("reason", "stage"))
    end = pl.when(pl.col("status") == "kept").then(pl.lit("kept")).otherwise(removed)
    table = run.table("ledger").select("doc_id", "id", "source", end.alias(f"end_{number}"))
    if "nth" in keys:
        table = table.sort("doc_id").with_columns(pl.int_range(pl.len()).over("source", "id").alias("nth"))
    return table.select(*keys, pl.col("id").alias(f"id_{number}"), f"end_{number}")


def _settings(first: RunReader, second: RunReader) -> list[dict[str, Any]]:
    one, other = (dict(_flat(essential_recipe(run.recipe))) for run in (first, second))
    return [
        {"field": name, "first": one.get(name), "second": other.get(name)}
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, plain value) of nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or not value:
        yield name, value
        return
    for key, inner in items:
        yield from _flat(inner, f"{name}.{key}" if name else str(key))


def _measures(first: RunReader, second: RunReader) -> list[dict[str, Any]]:
    """Numbers of the statistics that are in one of the runs; those of the sources by name."""
    found: list[dict[str, float]] = []
    for run in (first, second):
        stats = collect(run)
        numbers: dict[str, float] = {f"funnel.{name}": stats["funnel"][name] for name in ("input", "kept", *NOT_KEPT)}
        for one in stats["sources"]:
            numbers |= {f"sources.{one['source']}.{name}": one[name] for name in ("kept", "tokens", "share")}
        for part in ("order", "packing"):
            for name, value in _flat(stats.get(part, {})):
                if isinstance(value, int | float) and not isinstance(value, bool) and "sets." not in name:
                    numbers[f"{part}.{name}"] = value
        found.append(numbers)
    names = dict.fromkeys([*found[0], *found[1]])
    return [{"name": name, "first": found[0].get(name), "second": found[1].get(name)} for name in names]
