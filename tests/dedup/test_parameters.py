"""Parameters travel with signatures, and signatures of other parameters are refused."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from curate.base.errors import WorkspaceError
from curate.dedup.minhash import MinHashParams
from curate.stages.dedup.signatures import check_signatures, stored_params
from curate.tables.snapshot import Snapshot


def signatures(params):
    return Snapshot("signatures", "dedup", "key", "id", (), {}, {"minhash": asdict(params)})


def test_parameters_are_stored():
    params = MinHashParams(ngram=3, bands=7, rows=5, seed=9)
    assert stored_params(signatures(params)) == params
    check_signatures(signatures(params), params)


@pytest.mark.parametrize("other", [{"ngram": 4}, {"bands": 16}, {"rows": 4}, {"seed": 2}])
def test_other_parameters_refuse_to_combine(other):
    with pytest.raises(WorkspaceError, match="cannot be compared"):
        check_signatures(signatures(MinHashParams(**other)), MinHashParams())
