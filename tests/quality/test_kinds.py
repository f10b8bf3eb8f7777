"""Kinds of text are guessed from the form of texts, and what has no form of its own is left alone."""

from __future__ import annotations

import inspect
import random

import pytest

from curate.quality import kinds
from curate.quality.kinds import Origin, guess
from tests.corpus import text

RNG = random.Random(5)
PROSE = [text(RNG, "sea", 20) for _ in range(20)]
README = (
    "# Sails\n\nSet the sail with `hoist`.\n\n```\nhoist --slowly\n```\n\n| option | does |\n|---|---|\n| a | b |\n"
)
DOCSTRING = "Hoist the sail.\n\nArgs:\n    speed: how fast.\n\nReturns:\n    the sail.\n\n>>> hoist(3)\nsail\n"
MAN = "NAME\n    hoist - set a sail\n\nSYNOPSIS\n    hoist [-v]\n\nOPTIONS\n    -v  says more\n"
PLAY = "\n".join(f"{('ANNA', 'BERT')[i % 2]}: {line}" for i, line in enumerate(PROSE[0].split(". ")))
RUSSIAN_PLAY = "\n".join(f"{('Анна', 'Борис')[i % 2]}: Где корабль?" for i in range(8))
NOVEL_TALK = "\n".join(f"— {line}" for line in PROSE[1].split(". "))
CHAT = "User: where is it? Assistant: in the harbour. User: and the sail? Assistant: on the mast."
C_CODE = "int main(void) {\n    int a = 3;\n    for (;;) {\n        a += 1;\n    }\n    return a;\n}\n"
FORM = "\n".join(f"{name}: value {i}" for i, name in enumerate("name title place year size colour".split()))
HTML = "Read <a href='x'>more</a> about ships &nbsp; and sails. " + PROSE[2]


@pytest.mark.parametrize(
    ("texts", "origin", "kind"),
    [
        (PROSE, Origin(), "any"),
        ([], Origin(), "any"),
        ([FORM] * 5, Origin(), "any"),
        (PROSE, Origin(urls=0.6), "web"),
        (PROSE, Origin("warc"), "web"),
        (PROSE, Origin("html"), "web"),
        ([*PROSE, HTML, HTML, HTML], Origin(), "web"),
        ([text * 40 for text in PROSE], Origin(), "book"),
        ([text * 40 for text in PROSE], Origin(urls=1.0), "web"),
        ([README] * 5 + PROSE[:3], Origin("text"), "documentation"),
        ([DOCSTRING] * 5, Origin(), "documentation"),
        ([MAN] * 5, Origin(), "documentation"),
        ([PLAY] * 5, Origin(), "dialogue"),
        ([RUSSIAN_PLAY] * 5, Origin(), "dialogue"),
        ([NOVEL_TALK] * 5, Origin(), "dialogue"),
        ([CHAT] * 5, Origin(), "dialogue"),
        ([C_CODE] * 5, Origin(), "code"),
        ([inspect.getsource(kinds.guess), inspect.getsource(kinds.is_dialogue)], Origin(), "code"),
        (PROSE, Origin(code_paths=0.9), "code"),
    ],
)
def test_kinds(texts: list[str], origin: Origin, kind: str) -> None:
    found = guess(texts, origin)
    assert found.kind == kind, found.why


def test_the_reason_is_said() -> None:
    assert guess([README] * 3 + PROSE[:1], Origin()).why.startswith("75% of the texts have headings")


@pytest.mark.parametrize("sign", [" ", "a", ":", "`", "|", "\n", "[](", "<div ", "— ", ";", "a=", "a."])
def test_odd_texts_are_looked_at_no_longer_than_others(sign: str) -> None:
    assert guess([sign * 500_000] * 3, Origin()).why
