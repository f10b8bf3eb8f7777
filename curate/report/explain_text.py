"""An explanation as text for a terminal."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from curate.base.amounts import number

SHOWN_WINDOWS = 6
SHOWN_NEIGHBOURS = 8
"""What the terminal shows; everything is in the dict."""


def as_text(one: dict[str, Any], *, plain: bool = True) -> Text:
    """The explanation in the order in which a reader asks: what, why, where, beside whom."""
    text = Text()
    colour = {"kept": "green", "removed": "yellow", "rejected": "red"}.get(one["status"], "")
    text.append(one["id"], style="" if plain else "bold")
    text.append(f"  (doc_id {one['doc_id']}, source {one['source']})\n")
    text.append(one["status"], style="" if plain else colour)
    if one["stage"]:
        text.append(f" by {one['stage']}")
    text.append("\n")
    for name, value in _lines(one):
        text.append(f"  {name:<12} {value}\n")
    text.rstrip()
    return text


def _lines(one: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    if one["because"]:
        lines.append(("why", one["because"]))
    signals = one["signals"]
    if signals:
        measured = [
            f"{number(signals[name])} {name.removeprefix('n_')}"
            for name in ("n_words", "n_chars", "n_bytes")
            if name in signals
        ]
        lines.append(("text", ", ".join(measured)))
    if "language" in signals:
        lines.append(("language", f"{signals['language']} (score {signals.get('language_score', 0):.2f})"))
    scores = {name: value for name, value in signals.items() if name.startswith("classifier_")}
    lines += [("score", f"{name.removeprefix('classifier_')} {value:.4g}") for name, value in scores.items()]
    if one["n_tokens"] is not None:
        copies = "" if one["copies"] is None else ", once" if one["copies"] == 1 else f", {one['copies']} copies"
        lines.append(("tokens", number(one["n_tokens"]) + copies))
    if one["kept_for"]:
        first = one["kept_for"]["first"][0]
        lines.append(
            (
                "duplicates",
                f"{number(one['kept_for']['records'])} removed as like it, the nearest {_name(first)}, similarity {first['similarity']:g}",
            )
        )
    if one["position"] is not None:
        lines.append(("path", f"position {number(one['position'])}, cell {one['cluster']}"))
    lines += _where(one)
    if one["synthetic"]:
        made = one["synthetic"]
        places = sorted({(piece["set"], piece["shard"], piece["window"]) for piece in made["pieces"]})
        where = "; ".join(f"{f'set {a}, ' if a else ''}shard {b}, window {c}" for a, b, c in places)
        lines.append(("synthetic", f"{made['task']} ({number(made['n_tokens'])} tokens, {made['doc_id']}): {where}"))
    if one["text"]:
        lines.append(("begins", " ".join(one["text"].split())[:160]))
    return lines


def _where(one: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    neighbours = {(window["set"], window["shard"], window["window"]): window["neighbours"] for window in one["windows"]}
    for i, piece in enumerate(one["pieces"]):
        if i == SHOWN_WINDOWS:
            lines.append(("", f"… and {len(one['pieces']) - i} more pieces (--json has all)"))
            break
        place = f"set {piece['set']}, " if piece["set"] else ""
        copy = f", copy {piece['copy']}" if (one["copies"] or 0) > 1 else ""
        stop = piece["start"] + piece["length"]
        lines.append(
            (
                "window",
                f"{place}shard {piece['shard']}, window {piece['window']}: tokens {number(piece['start'])} to {number(stop)}{copy}",
            )
        )
        beside = neighbours.get((piece["set"], piece["shard"], piece["window"]), [])
        for other in beside[:SHOWN_NEIGHBOURS]:
            similarity = "" if other["similarity"] is None else f", similarity {other['similarity']:g}"
            lines.append(("", f"  beside {_name(other)}: {number(other['tokens'])} tokens{similarity}"))
        if len(beside) > SHOWN_NEIGHBOURS:
            lines.append(("", f"  … and {len(beside) - SHOWN_NEIGHBOURS} more"))
    return lines


def _name(document: dict[str, Any]) -> str:
    return f"{document.get('id', '?')} (doc_id {document['doc_id']}, {document.get('source', '?')})"
