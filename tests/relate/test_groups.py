"""Groups that stay together: names, regions, units."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curate.relate.regions import expand, group_names, group_regions, units


def test_names_come_from_the_record() -> None:
    meta = pa.array(['{"repo": "a/b", "n": 1}', '{"repo": 7}', '{"other": 1}', None, '{"repo": ""}', '{"repo": null}'])
    assert group_names(meta, "meta.repo") == ["a/b", "7", None, None, None, None]


def test_a_group_has_one_region() -> None:
    names = ["x", None, "x", "y", "y"]
    found = group_regions(names, np.array([0, 1, 2, 3, 4], np.int32), 5)
    assert found[1] == 1
    assert found[0] == found[2] < 5
    assert found[3] == found[4] < 5
    assert len({group_regions([str(i)], np.zeros(1, np.int32), 5)[0] for i in range(50)}) == 5


def test_units_keep_the_natural_order_and_the_direction_of_their_sum() -> None:
    vectors = np.array([[10, 0], [0, 3], [0, 90], [-4, 4]], np.int8)
    members, directions = units(["g", None, "g", None], vectors)
    assert [one.tolist() for one in members] == [[0, 2], [1], [3]]
    assert directions.tolist() == [
        [127, 127],
        [0, 3],
        [-4, 4],
    ]  # each member counts alike; those alone stay as they are
    assert expand(np.array([2, 0, 1]), members).tolist() == [3, 0, 2, 1]
    assert expand(np.zeros(0, np.int64), []).tolist() == []
