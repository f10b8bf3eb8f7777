"""Names that several layers share."""

STAGES = (
    "ingest",
    "quality",
    "dedup",
    "tokenize",
    "embed",
    "cluster",
    "select",
    "order",
    "upsample",
    "synthetic",
    "pack",
    "shards",
    "ledger",
)
"""Names of the stages in the order in which they run."""
