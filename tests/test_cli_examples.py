"""The examples in docs/cli.md: there is one of every command, and each prints what the page shows."""

from __future__ import annotations

import pytest

from tests import cli_docs, cli_examples

PAGE = cli_docs.PAGE.read_text(encoding="utf-8")
EXAMPLES = [one for block in cli_examples.blocks(PAGE) for one in block]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Command → what it prints, all run in the order of the page."""
    folder = tmp_path_factory.mktemp("examples")
    with cli_examples.workshop(folder):
        return {one.command: cli_examples.printed(one.command, folder) for one in EXAMPLES}


def test_every_command_has_an_example() -> None:
    shown = {one.command.split()[1] for one in EXAMPLES}
    assert shown == set(cli_docs.commands()) - {""}, "add a block to docs/cli.md; python -m tests.cli_docs fills it"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.command)
def test_output_is_that_of_the_page(example: cli_examples.Example, outputs: dict[str, str]) -> None:
    found = cli_examples.cut_as(example.output, outputs[example.command])
    assert cli_examples.normalised(found) == cli_examples.normalised(example.output), (
        "python -m tests.cli_docs writes it anew"
    )


def test_what_differs_between_machines_is_not_compared() -> None:
    one, other = (
        "done in 0.6 s: /x/0123456789abcdef (1 file, 9.1 kB), 3 rows",
        "done in 12 s: /x/fedcba9876543210 (1 file, 12 kB), 3 rows",
    )
    assert cli_examples.normalised(one) == cli_examples.normalised(other)
    assert cli_examples.normalised(one) != cli_examples.normalised(one.replace("3 rows", "4 rows"))
