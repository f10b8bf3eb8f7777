"""Everything that looks at a run works on one in an object store."""

from __future__ import annotations

from pathlib import Path

import pytest

import curate
from curate.driver.clean import clean
from curate.report.page import report
from curate.verify.verify import verify
from tests import hand
from tests.s3_server import S3Server, s3_environment  # noqa: F401


@pytest.fixture
def remote(s3: S3Server, builder: hand.Builder) -> str:
    """The workspace in a bucket."""
    root = Path(builder.finish())
    bucket = s3.new_bucket()
    for file in root.rglob("*"):
        if file.is_file():
            s3.client().upload_file(str(file), bucket, f"runs/hand/{file.relative_to(root).as_posix()}")
    return f"s3://{bucket}/runs/hand"


def test_a_run_in_s3_is_looked_at_like_a_local_one(remote: str, builder: hand.Builder) -> None:
    here, there = curate.open(str(builder.root)), curate.open(remote)
    local, stats = here.stats(), there.stats()
    assert {**stats, "workspace": ""} == {**local, "workspace": ""}
    assert [one.as_dict() for one in there.explain("a")] == [one.as_dict() for one in here.explain("a")]
    assert there.sample(n=9) == here.sample(n=9)
    assert there.table("tokens").collect().equals(here.table("tokens").collect())
    assert there.windows()[1, 1] == here.windows()[1, 1]
    assert there.duplicates("f") == here.duplicates("f")
    assert there.plot_path() == here.plot_path()
    assert there.plot_map() == here.plot_map()
    assert there.compare(here)["changes"] == []
    assert report(there) == report(here)
    checked = verify(remote)
    assert checked.faults == []
    assert checked.checks == verify(str(builder.root)).checks
    assert clean(remote, remove=True).files == 0
