"""What a request names and what was done, as text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 20
"""Documents that are listed; the others are counted."""


def sections(found: dict[str, Any], *, plain: bool) -> list[RenderableType]:
    """The outcome as text."""
    from rich.markup import escape

    from curate.report import render

    parts: list[RenderableType] = []
    documents = found["documents"]
    if documents:
        rows = [
            (
                row["id"],
                row["source"],
                str(row["doc_id"]),
                row["how"],
                "" if row["n_tokens"] is None else row["n_tokens"],
            )
            for row in documents[:SHOWN]
        ]
        title = "Removed" if found["request"] else "Would leave"
        parts.append(render.table(title, ("id", "source", "doc_id", "why", "tokens"), rows, plain=plain, left=4))
        if len(documents) > SHOWN:
            parts.append(f"… and {len(documents) - SHOWN:,} more")
        by_how = Counter(row["how"] for row in documents)
        parts.append(
            f"{_counted(len(documents), 'document')}: " + ", ".join(f"{n:,} {how}" for how, n in by_how.most_common())
        )
    else:
        parts.append("no document is named by this")
    for names, what in ((found["unknown"], "not found"), (found["already"], "removed before")):
        if names:
            more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
            parts.append(escape(f"{what}: {', '.join(names[:SHOWN])}{more}"))
    if found["request"]:
        parts.append(
            f"request {found['request']}: {_counted(found['shards'], 'shard')} written anew, "
            f"{_counted(found['tokens'], 'token')} of padding in their place; "
            "`curate verify` proves that nothing is left. Inputs, exports and reports are yours to clear"
        )
    elif documents:
        parts.append("nothing was changed; `--yes` removes them")
    return parts


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
