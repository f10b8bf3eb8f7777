"""A picture of an order: a map of the documents, the path through them, and what shares a window.

    python benchmarks/ordering_plot.py CORPUS.jsonl.zst -o ordering.svg [--windows 12]

The map is that of `curate.report.map`; its axes mean nothing. Left the path, right some windows of `pack: related`, each as a star about its middle.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ordering import Windows
from ordering_corpora import prepare

from curate.base.hashing import document_hash
from curate.report.map import plane

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#a463f2", "#9c6b4e", "#97bbf5", "#3ca951")
SIDE, MARGIN = 480, 20


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=12, help="windows to draw")
    chosen = parser.parse_args()
    corpus = prepare(chosen.corpus)
    windows = Windows(corpus, 8192)
    path = windows.path("related")
    window = windows.window_of(path, windows.pack(path, 16, padding=3.0))
    at = MARGIN + plane(corpus.vectors, corpus.found.ids, corpus.found.similarity) * (SIDE - 2 * MARGIN)
    names = sorted(set(corpus.labels))
    colour = [COLOURS[names.index(label) % len(COLOURS)] for label in corpus.labels]
    drawn = np.argsort(document_hash(0, "plot", np.arange(window.max() + 1, dtype=np.uint64)))[: chosen.windows]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * SIDE} {SIDE + 46}" font-family="sans-serif" font-size="13">',
        f'<rect width="{2 * SIDE}" height="{SIDE + 46}" fill="white"/>',
        f'<text x="{MARGIN}" y="18">The path: {len(path):,} documents, each once</text>',
        f'<text x="{SIDE + MARGIN}" y="18">{len(drawn)} of {window.max() + 1} windows: what a model sees at once</text>',
    ]
    line = " ".join(f"{x:.0f},{y + 24:.0f}" for x, y in at[path])
    parts.append(f'<polyline points="{line}" fill="none" stroke="#888" stroke-width="0.35"/>')
    for shift, radius, opacity in ((0, 1.7, 1.0), (SIDE, 1.4, 0.35)):
        for name, shade in zip(names, COLOURS * len(names), strict=False):
            mine = [i for i, label in enumerate(corpus.labels) if label == name]
            dots = "".join(f"M{at[i, 0] + shift:.0f} {at[i, 1] + 24:.0f}h0" for i in mine)
            parts.append(
                f'<path d="{dots}" stroke="{shade}" stroke-width="{2 * radius}" stroke-linecap="round" opacity="{opacity}"/>'
            )
    for w in drawn:
        inside = np.flatnonzero(window == w)
        middle = np.median(at[inside], axis=0)
        for i in inside:
            x, y = at[i, 0] + SIDE, at[i, 1] + 24
            parts.append(
                f'<path d="M{middle[0] + SIDE:.0f} {middle[1] + 24:.0f}L{x:.0f} {y:.0f}" stroke="#222" stroke-width="0.8"/>'
                f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{colour[i]}" stroke="#222" stroke-width="0.8"/>'
            )
    for number, name in enumerate(names[: len(COLOURS)]):
        x = MARGIN + number * 110
        parts.append(f'<circle cx="{x}" cy="{SIDE + 34}" r="5" fill="{COLOURS[number]}"/>')
        parts.append(f'<text x="{x + 10}" y="{SIDE + 39}">{name}</text>')
    chosen.output.write_text("\n".join([*parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
