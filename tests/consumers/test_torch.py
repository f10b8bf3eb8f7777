"""curate.torch under the real DataLoader: each window once, in a reproducible order, from any place in an epoch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import curate
from curate.shards.formats import parquet
from curate.shards.index import FORMAT_VERSION, batch, padded, sample
from curate.shards.windows import ShardWindows
from curate.verify.verify import verify
from tests.consumers.environment import HERE, PYTHON, ROOT, needs_consumers, run_consumer, token_hash, variables
from tests.corpus import recipe_of, write_corpus
from tests.s3_server import s3_environment  # noqa: F401
from tests.shards.support import packed_windows, random_corpus

SIZE, PAD = 64, 3
ROWS = ("input_ids", "labels", "position_ids", "segment_ids")

pytestmark = needs_consumers


def read(scenario: str, url: Path | str, *arguments: str):
    return run_consumer("read_torch.py", scenario, str(url), *arguments, paths=(ROOT,))


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> tuple[Path, list[ShardWindows]]:
    """A set of five uneven shards in several row groups, with the index that the reader needs."""
    folder = tmp_path_factory.mktemp("set")
    windows = packed_windows(*random_corpus(5, 150, 100), SIZE, "related", PAD, begin=7, separator=(8, 9))
    cuts = [0, 1, len(windows) // 5, len(windows) // 2, len(windows) - 9, len(windows)]
    (folder / "parquet").mkdir()
    parts, files = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROW_GROUP_TOKENS", 8 * SIZE)
        for shard, (start, stop) in enumerate(pairwise(cuts)):
            part = windows.slice(start, stop)
            part = replace(part, window=np.arange(len(part), dtype=np.uint32))
            name = f"parquet/shard-{shard:05d}.parquet"
            parquet.write(part, str(folder / name))
            files.append({"name": name, "windows": len(part)})
            parts.append(part)
    tokenizer = {"blake2b": "0", "vocab_size": 65_536, "eos_id": PAD}
    index = {
        "format_version": FORMAT_VERSION,
        "files": files,
        "set": 0,
        "window": SIZE,
        "shards": 5,
        "tokenizer": tokenizer,
    }
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "two").mkdir()
    files = [{"name": f"set-{number}/parquet/shard-00000.parquet", "windows": 1} for number in range(2)]
    (folder / "two" / "index.json").write_text(json.dumps({**index, "files": files}))
    return folder, parts


def all_places(parts: list[ShardWindows]) -> list[tuple[int, int]]:
    return [(shard, w) for shard, part in enumerate(parts) for w in range(len(part))]


def flat(batches) -> list[tuple[int, int]]:
    return [tuple(place) for one in batches for place in one]


def test_every_batch_has_the_windows_it_names_and_an_epoch_all_of_them_once(shards):
    folder, parts = shards
    found = read("contents", folder)
    for attention in ("document", "window"):
        for epoch in range(2):
            mine = [one for one in found if (one["attention"], one["epoch"]) == (attention, epoch)]
            places = flat(one["places"] for one in mine)
            assert sorted(places) == all_places(parts)
            assert places != all_places(parts)
            halves = [len(flat(one["places"] for one in mine if one["rank"] == rank)) for rank in range(2)]
            assert abs(halves[0] - halves[1]) <= 1
    orders = {epoch: [one["places"] for one in found if one["epoch"] == epoch] for epoch in range(2)}
    assert orders[0] != orders[1]
    for one in found:
        assert one["kinds"] == ["torch.int64", "torch.int64", "torch.int64", "torch.int32", "torch.int32"]
        samples = []
        for shard, w in one["places"]:
            window = parts[shard].slice(w, w + 1)
            samples.append(padded(sample(window.tokens, window.lengths, one["attention"]), SIZE, PAD))
        expected = batch(samples, PAD)
        hashes = [[token_hash(expected[name][i]) for name in ROWS] for i in range(len(samples))]
        assert one["rows"] == hashes
        assert one["cu_seqlens"] == expected["cu_seqlens"].tolist()


@pytest.fixture(scope="module")
def resumed(shards):
    return read("resumed", shards[0])


def test_a_resumed_epoch_goes_on_in_the_same_order(shards, resumed):
    parts, found = shards[1], resumed
    assert sorted(flat(found["whole"])) == all_places(parts)
    assert found["workers 2"] == found["same object"] == found["whole"]
    for other in ("workers 0", "workers 3", "other ranks"):
        assert sorted(flat(found[other])) == all_places(parts), other
    head, rest = found["without a loader"]
    assert head + rest == found["without a loader, whole"]
    assert sorted(flat([head, rest])) == all_places(parts)


def test_even_ranks_have_as_many_batches_and_nothing_twice(shards, resumed):
    parts, ranks = shards[1], resumed["even"]
    counts = {(len(batches), len(flat(batches))) for batches in ranks}
    assert counts == {(len(ranks[0]), len(all_places(parts)) // 4)}
    assert Counter(place for batches in ranks for place in flat(batches)).most_common(1)[0][1] == 1


def test_a_killed_job_goes_on_at_the_exact_window(shards):
    folder, _ = shards
    command = [str(PYTHON), str(HERE / "read_torch.py"), "training", str(folder)]

    def lines(*arguments: str, until: int | None = None):
        found = []
        with subprocess.Popen(
            [*command, *arguments], env=variables(ROOT), stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as job:
            for line in job.stdout:
                if line == "null\n":
                    break
                found.append(json.loads(line))
                if len(found) == until:
                    os.killpg(job.pid, signal.SIGKILL)
                    break
        return found

    whole = lines()
    killed = lines(until=7)
    rest = lines(json.dumps(killed[-1]["state"]))
    assert len(whole) > 20
    assert [one["places"] for one in killed + rest] == [one["places"] for one in whole]


def test_torchdatas_stateful_loader_resumes(shards):
    folder, parts = shards
    found = read("stateful", folder)
    assert sorted(flat(found["whole"])) == all_places(parts)
    assert found["interrupted"] == found["whole"]


def test_the_denoiser_can_be_undone_and_does_not_depend_on_workers(shards):
    folder, parts = shards
    inline, workers = read("denoised", folder)
    assert inline == workers
    assert [tuple(row[0]) for row in inline] == all_places(parts)
    assert len({row[1] for row in inline}) > 0.98 * len(inline), "copies of a window are not corrupted alike"
    for (shard, w), _, window, doc_ids in inline:
        own = parts[shard].slice(w, w + 1)
        assert window == token_hash(own.tokens)
        assert doc_ids == own.doc_ids.tolist()


def test_denoised_files_are_read_with_their_targets_as_labels(tmp_path):
    folder = write_corpus(tmp_path / "text", count=60)
    shards = {"windows_per_shard": 20, "path": str(tmp_path / "shards"), "denoise": {"length": 64}}
    curate.run(recipe_of(folder, tmp_path / "run", shards=shards))
    plain = {"windows_per_shard": 20, "path": str(tmp_path / "shards-plain")}
    curate.run(recipe_of(folder, tmp_path / "plain", shards=plain))
    found = read("denoised_files", tmp_path / "shards")
    assert found["after"] == {place: [one, one] for place, one in found["plain"].items()}
    assert found["targets"] > 0
    assert found["by sets"] == len(found["plain"])
    assert found["window"] == json.loads((tmp_path / "shards" / "denoised" / "index.json").read_text())["window"]
    assert found["twice"].startswith("the windows of this set are denoised already; leave `denoiser` out")
    assert found["without"].endswith("shards-plain has no denoised windows; set `shards.denoise` and run again")


def test_wrong_requests_say_what_to_do(shards):
    folder, _ = shards
    found = read("refused", folder)
    assert "has no index.json; give the folder of a finished shard set" in found["no set"]
    assert found["several sets"].endswith("two holds several sets; give the folder of one: " + f"{folder}/two/set-0, …")
    assert found["rank"] == "rank 2 is not one of 2 ranks, which are numbered from 0"
    assert "give one of: document, window" in found["attention"]
    assert found["seed"] == "the state is of another seed (1, here 0)"
    assert "join the states of all ranks by curate.torch.merge_states" in found["other rank"]
    assert "every rank" in found["not all"]
    assert found["not next"] == "ordinal 5 is not the next one of a worker"
    assert "leave `persistent_workers` out" in found["persistent"]
    assert found["denoiser"] == f"the denoiser uses token {PAD}, which ends documents in this set"


def test_reading_loads_nothing_heavy(shards):
    assert read("light", shards[0]) == []


def test_a_set_that_a_run_mirrored_to_s3(s3, tmp_path):
    folder = write_corpus(tmp_path / "text", count=120)
    url = f"s3://{s3.new_bucket()}/shards"
    shards = {"windows_per_shard": 10, "path": url, "validation": {"share": 0.1}}
    run = curate.run(recipe_of(folder, tmp_path / "run", shards=shards))
    sets = run.snapshot("windows").details["sets"]
    assert len(sets) == 2
    for entry in sets:
        found = read("contents", f"{url}/set-{entry['set']}")
        mine = [one for one in found if (one["attention"], one["epoch"]) == ("document", 1)]
        places = flat(one["places"] for one in mine)
        assert len(set(places)) == len(places) == entry["windows"] > 0


def of_sets(found):
    """(set, shard, window) of every window, in the order in which they came."""
    return [(number, *place) for number, some, _ in found for place in some]


def check_sets(found, counts):
    """Every window of every set once in an epoch, in another order in the next, and the same after any stop."""
    whole = found["whole"]
    assert len(set(of_sets(whole))) == len(of_sets(whole)) == sum(counts.values())
    assert Counter(number for number, _, _ in of_sets(whole)) == counts
    assert found["epoch"] == 2
    assert found["second"] != whole
    assert sorted(of_sets(found["second"])) == sorted(of_sets(whole))
    for batches, left, after in found["resumed"]:
        assert batches == whole
        assert left == after
    assert [one[0] for one in found["ranks"][0]] == [one[0] for one in found["ranks"][1]], "ranks agree on the set"
    both = of_sets(found["ranks"][0]) + of_sets(found["ranks"][1])
    assert len(set(both)) == len(both) >= sum(counts.values()) - len(counts)


def training_windows(run):
    parts = run.snapshots["windows"].details.get("generations", [run.snapshots["windows"].details])
    counts = Counter()
    for part in parts:
        counts.update({entry["set"]: entry["windows"] for entry in part["sets"] if entry["kind"] != "validation"})
    return +counts


def test_the_stages_of_a_curriculum_follow_each_other_over_generations(tmp_path):
    folder = write_corpus(tmp_path / "text", count=120)
    recipe = recipe_of(
        folder,
        tmp_path / "run",
        pack={
            "schedule": [{"window": 128, "tokens": 10_000}, {"window": 512, "tokens": 10_000}],
            "bos": True,
            "separator": "\n\n###\n\n",
        },
        shards={"windows_per_shard": 20, "path": str(tmp_path / "shards"), "validation": {"share": 0.1}},
    )
    curate.run(recipe)
    (folder / "later.jsonl").write_bytes((write_corpus(tmp_path / "b", 60, 9) / "c.jsonl").read_bytes())
    run = curate.run(recipe)
    assert len(run.snapshots["windows"].details["generations"]) == 2
    found = read("sets", tmp_path / "shards")
    assert verify(str(tmp_path / "run")).faults == []
    assert [len(entry["urls"]) for entry in found["sets"]] == [2, 2]
    check_sets(found, training_windows(run))
    order = [number for number, _, _ in found["whole"]]
    assert order == sorted(order)
    assert {(number, *shape) for number, _, shape in found["whole"][1:-1]} >= {(0, 4, 128), (1, 1, 512)}


def test_buckets_take_turns_by_their_odds(tmp_path):
    folder = write_corpus(tmp_path / "text", count=120)
    shards = {"path": str(tmp_path / "shards")}
    run = curate.run(recipe_of(folder, tmp_path / "run", pack={"method": "buckets", "window": 256}, shards=shards))
    found = read("sets", tmp_path / "shards")
    check_sets(found, training_windows(run))
    order = [number for number, _, _ in found["whole"]]
    assert order != sorted(order)
    for number, some, (rows, width) in found["whole"]:
        assert width == 2**number
        assert rows == len(some) <= 512 // width
