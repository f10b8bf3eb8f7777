"""The examples in docs/cli.md: a small corpus of letters, and what the commands of the page print about it.

A block of the page that begins with ``$ curate`` is an example: one or more commands, each with its output. The commands
of the page are run in their order, in one folder. A line ``…`` stands for the rest of an output.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

HOME = "/home/you"
"""What the page calls the folder in which the commands are run."""

REST = "…"

_EXAMPLE = re.compile(r"```text\n(?P<body>\$ curate (?!(?:[a-z-]+ )?--help\n).*?)```", re.DOTALL)

_VARIES = (
    (re.compile(r"\b[0-9a-f]{16,32}\b"), "KEY"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "KEY"),
    (re.compile(r"[\d,]+(\.\d+)? (B|kB|MB|GB|TB)\b"), "SIZE"),
    (re.compile(r"\b[\d,]+ bytes\b"), "SIZE"),
    (re.compile(r"\b[\d,]+ files?\b"), "FILES"),
    (re.compile(r"[\d,]+(\.\d+)? (s|min|h)\b"), "TIME"),
    (re.compile(r'"(seconds|bytes)": [\d.]+'), "JSON"),
    (re.compile(r"\b[\d,]+ (?=cores?\b)"), "N "),
    (re.compile(r"[ \t]+"), " "),
)
"""What depends on the machine, the day or the version of a stage, and the spaces that align it."""


# --- the corpus

_TOPICS = {
    "sea": (
        "captain sailor pilot fisherman".split(),
        "anchor sail lantern cargo rope compass chart net barrel flag".split(),
        "harbour lighthouse island reef pier deck bay".split(),
    ),
    "garden": (
        "gardener neighbour beekeeper botanist".split(),
        "rose spade hedge seed apple compost basket ladder tulip hive".split(),
        "orchard greenhouse meadow terrace pond shed lawn".split(),
    ),
    "music": (
        "violinist conductor singer pianist".split(),
        "score melody bow chorus drum trumpet cello ticket waltz tune".split(),
        "theatre stage studio chapel ballroom balcony foyer".split(),
    ),
    "kitchen": (
        "cook baker waiter guest".split(),
        "bread kettle onion pepper plate cheese recipe soup oven knife".split(),
        "kitchen cellar market pantry inn table bakery".split(),
    ),
}
_VERBS = "carries finds leaves watches brings keeps forgets remembers borrows repairs sells wraps".split()
_ADJECTIVES = "old small heavy bright quiet broken golden wooden narrow blue strange new".split()
_PLACES = "in at near behind beyond before".split()
_TIMES = "every morning, in the evening, on Sunday, after the storm, before supper, in the spring, all winter, at noon".split(
    ", "
)


def _sentence(rng: random.Random, topic: str) -> str:
    who, what, where = _TOPICS[topic]
    parts = [
        f"the {rng.choice(who)} {rng.choice(_VERBS)} the {rng.choice(_ADJECTIVES)} {rng.choice(what)}",
        f"{rng.choice(_PLACES)} the {rng.choice(where)}",
        rng.choice(_TIMES),
    ]
    if rng.random() < 0.5:
        parts.append(f"and the {rng.choice(who)} {rng.choice(_VERBS)} a {rng.choice(what)}")
    text = " ".join(parts)
    return text[0].upper() + text[1:] + "."


def _letter(rng: random.Random, topic: str, sentences: int) -> str:
    lines = [_sentence(rng, topic) for _ in range(sentences)]
    return "\n\n".join(" ".join(lines[at : at + 5]) for at in range(0, len(lines), 5))


def letter(topic: str, sentences: int, seed: int) -> str:
    """One letter on a topic."""
    return _letter(random.Random(seed), topic, sentences)


def letters(count: int) -> list[dict[str, str]]:
    """Letters on four topics; some are copies, some almost copies, some too short."""
    rng = random.Random(0)
    found: list[dict[str, str]] = []
    for number in range(count):
        topic = list(_TOPICS)[number % 4]
        text = _letter(rng, topic, 60 if number % 20 == 7 else rng.randint(8, 20))
        if number % 15 == 14:
            text = found[number - 12]["text"]
        elif number % 12 == 11:
            text = found[number - 8]["text"] + " " + _sentence(rng, topic)
        elif number % 30 == 10:
            text = "See you soon."
        found.append({"id": f"letter-{number:03d}", "text": text, "topic": topic})
    return found


def write_texts(folder: Path) -> None:
    """The corpus ``texts``, samples for a classifier, a new text, and a Python environment for the demo."""
    made = letters(100)
    bad = ['{"id": "letter-100", "text": ""}', '{"id": "letter-101", "te']
    _write(folder / "texts/letters.jsonl", "\n".join([*map(json.dumps, made), *bad]) + "\n")
    rng = random.Random(1)
    for number in range(5):
        _write(folder / f"texts/notes/{number}.txt", _letter(rng, "garden", 12))
    _write(folder / "ids.txt", "letter-007\nletter-013\n")
    _write(folder / "new.txt", made[2]["text"].replace("heavy", "light") + " With love.")
    good = [{"text": _letter(rng, topic, 3)} for topic in _TOPICS for _ in range(25)]
    poor = [{"text": " ".join(f"buy {rng.choice('now cheap best free win'.split())}" for _ in range(30))} for _ in good]
    for name, texts in (("good", good), ("poor", poor)):
        _write(folder / f"{name}.jsonl", "\n".join(map(json.dumps, texts)))
    for number, one in enumerate(made):
        module = folder / f".site/post/{one['topic']}/letter_{number:03d}.py"
        _write(module, f'"""{one["text"]}"""\n')


def _write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


# --- running the page


class Example(NamedTuple):
    """A command of the page and the output that it shows."""

    command: str
    output: str


def examples(body: str) -> list[Example]:
    """The commands of one block."""
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    return [Example(*part.split("\n", 1)) for part in parts]


def blocks(page: str) -> list[list[Example]]:
    """The examples of the page, block by block."""
    return [examples(match["body"]) for match in _EXAMPLE.finditer(page)]


@contextlib.contextmanager
def workshop(folder: Path) -> Iterator[None]:
    """The folder in which the commands of the page are run, as the current one; no Ray, no cluster, no real environment."""
    from curate.tools import init

    write_texts(folder)
    former = Path.cwd()
    os.chdir(folder)
    try:
        with (
            mock.patch.dict(os.environ, {"COLUMNS": "100"}),
            mock.patch.object(init, "_HEAD", init._HEAD.replace("engine: ray", "engine: inline")),
            mock.patch("curate.reading.environment.package_folders", return_value=[folder / ".site"]),
            mock.patch("curate.driver.jobs._client", return_value=_Cluster()),
        ):
            yield
    finally:
        os.chdir(former)


class _Cluster:
    """A Jobs API that takes every job and has none."""

    def list_jobs(self) -> list[Any]:
        return []

    def submit_job(self, **job: Any) -> str:
        return str(job["submission_id"])

    def get_job_info(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(submission_id=name, status="PENDING", message="")

    def get_job_status(self, name: str) -> str:
        return "PENDING"


def printed(command: str, folder: Path) -> str:
    """What a command of the page prints, paths below :data:`HOME`."""
    from curate.cli import main

    out, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        code = main(shlex.split(command)[1:])
    assert code == 0, f"`{command}` ended with {code}: {told.getvalue()}"
    return out.getvalue().replace(str(folder), HOME)


def cut_as(shown: str, output: str) -> str:
    """The output, cut after as many lines as an example shows before its ``…``."""
    lines = shown.rstrip("\n").split("\n")
    if lines[-1] != REST:
        return output
    return "\n".join([*output.split("\n")[: len(lines) - 1], REST]) + "\n"


def normalised(output: str) -> str:
    """The output without what differs between two machines or days."""
    for pattern, name in _VARIES:
        output = pattern.sub(name, output)
    return "\n".join(line.strip() for line in output.strip().split("\n"))


def renewed(page: str, folder: Path) -> str:
    """The page with the outputs of today, where they say something else than those of the page."""

    def renew(match: re.Match[str]) -> str:
        body = ""
        for one in examples(match["body"]):
            output = cut_as(one.output, printed(one.command, folder))
            same = normalised(output) == normalised(one.output)
            after = re.search(r"\n*$", one.output)
            gap = "\n" if after and len(after[0]) > 1 else ""
            body += f"$ {one.command}\n{one.output if same else output.rstrip() + chr(10) + gap}"
        return f"```text\n{body}```"

    with workshop(folder):
        return _EXAMPLE.sub(renew, page)
