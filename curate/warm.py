"""Compile every kernel ahead of the first run: `python -m curate.warm`.

Kernels are compiled when they are first called and then kept on disk. Done here, in parallel processes, no worker of
the first run has to wait for it; container images do it while they are built.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor


def _texts() -> object:
    import pyarrow as pa

    lines = [
        "The ship leaves the harbour.\nA storm follows it. [1]\nIt's 3.5 km to the light!",
        "Ärger über ein Café: 日本語",
        "",
    ]
    return pa.array(lines, pa.large_string())


def warm_statistics() -> None:
    """Words, lines and n-grams."""
    from curate.quality.statistics import measure

    measure(_texts())


def warm_lines() -> None:
    """C4's lines, and edits."""
    from curate.base.text import cut_spans
    from curate.quality.c4 import c4_lines, line_parameters

    texts = _texts()
    lines = c4_lines(texts, line_parameters("default", {}))
    cut_spans(texts, lines.rows, lines.starts, lines.ends)


def warm_language() -> None:
    """Language identification, where a model is installed."""
    from curate.base.errors import RequestError
    from curate.quality.language import find_model, language_model

    try:
        model = find_model(None)
    except RequestError:
        return
    language_model(str(model)).identify(_texts())


def warm_dedup() -> None:
    """Signatures, buckets, components, verification, keepers."""
    import numpy as np

    from curate.dedup.buckets import band_keys, group
    from curate.dedup.components import components
    from curate.dedup.contamination import find_matches, ngram_index
    from curate.dedup.minhash import MinHashParams, sign
    from curate.dedup.paragraphs import paragraphs
    from curate.dedup.resolve import resolve
    from curate.dedup.shingles import shingle_sets

    params = MinHashParams()
    signature = sign(_texts(), params).signature
    ids = np.arange(3, dtype=np.uint64)
    keys = band_keys(signature, params)
    group(keys.ravel(), np.repeat(ids, params.bands))
    components(ids[:2], ids[1:])
    values, offsets = shingle_sets(_texts(), params.ngram)
    bounds, members = np.array([0, 2], np.int64), np.array([0, 1], np.int64)
    resolve(ids, values, offsets, np.zeros((3, 1)), bounds, members, 0.8, signature=signature)
    find_matches(_texts(), ngram_index(_texts(), 3)[0], 3)
    paragraphs(_texts())


def warm_relate() -> None:
    """The embedder, cells, neighbours, paths, and the map."""
    import numpy as np

    from curate.relate.cells import assign, fit_cells
    from curate.relate.embedders.lexical import fit
    from curate.relate.encoders.quantised import quantise_directions
    from curate.relate.neighbors import neighbors
    from curate.relate.orders import Region
    from curate.relate.paths import find_path
    from curate.relate.super_cells import fit as fit_levels
    from curate.relate.super_cells import nearest_cell
    from curate.report.map import plane

    fit(_texts(), dim=8).transform(_texts())
    quantise_directions(np.ones((2, 8), np.float32), np.zeros(8))
    ids = np.arange(60, dtype=np.uint64)
    vectors = (np.outer(ids, np.arange(8)) % 97 - 40).astype(np.int8)
    assign(vectors, fit_cells(vectors, 4, 0, ids))
    nearest_cell(vectors, fit_levels(vectors, 4, 0, ids, most=2))
    found = neighbors(vectors, 5, 0.95)
    for method in ("related", "icp"):
        find_path(method, Region(vectors, found, ids, max_similarity=0.95))
    neighbors(vectors, 5, 0.95, brute_force_limit=10, cell_size=20)
    plane(vectors, found.ids, found.similarity)


def warm_shards() -> None:
    """Pieces of text, planners, windows and conservation sums."""
    import numpy as np
    import pyarrow as pa

    from curate.base.schemas import WINDOWS
    from curate.base.text import text_buffers
    from curate.packing.measures import count_windows
    from curate.packing.packers import PACKERS
    from curate.packing.plan import pack
    from curate.packing.refusals import count_alike, similarity
    from curate.shards import conservation
    from curate.stages.shards.routing import assemble
    from curate.tokens.pretokens import Pretokens

    data, offsets = text_buffers(_texts())
    for dtype in (np.uint16, np.uint32):
        one = Pretokens(
            lambda text: np.frombuffer(text.encode(), np.uint8).astype(np.uint32), np.ones(256, np.int64), dtype
        )
        one.encode(data, offsets[:-1].copy(), offsets[1:].copy())
    lengths, vectors = np.array([3, 9, 4], np.int64), np.eye(3, 8, dtype=np.int8)
    for method in PACKERS.names():
        pieces = pack(method, lengths, 8, vectors=vectors, max_similarity=0.9)
        count_windows(pieces, lengths, 8)
        count_alike(pieces, similarity(vectors, 0.9))
    rows = pa.table([[0], [0], [0], [0], [0], [7], [0], [0], [2]], schema=WINDOWS)
    for item in (pa.uint16(), pa.uint32()):
        token_ids = pa.array([[1, 2]], pa.large_list(item))
        spans = pa.table(
            {"window": pa.array([0], pa.uint32()), "piece": pa.array([0], pa.uint32()), "token_ids": token_ids}
        )
        windows = assemble(rows, spans, 8, None)
        conservation.window_sums(windows)
        flat = np.asarray(token_ids.values)
        conservation.token_sum(np.array([7], np.uint64), np.array([1], np.uint16), flat, np.array([0, 2]), 1)


PARTS: tuple[Callable[[], None], ...] = (
    warm_statistics,
    warm_lines,
    warm_language,
    warm_relate,
    warm_dedup,
    warm_shards,
)
"""Longest first, so that the processes end together."""


def warm(processes: int = 2) -> None:
    """Compile what is not on disk yet."""
    with ProcessPoolExecutor(processes) as pool:
        for future in [pool.submit(part) for part in PARTS]:
            future.result()


if __name__ == "__main__":
    warm(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
