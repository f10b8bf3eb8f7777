"""The Python interface: run a recipe, open a finished run. ``import curate`` stays light; the work is imported on use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.driver.takedown import Removal
    from curate.engine.progress import Progress
    from curate.finished_run import Run
    from curate.recipe import Recipe


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    changes: Sequence[str] = (),
    until: str | None = None,
    cpus: int | None = None,
    address: str | None = None,
    sample: float | None = None,
    allow_missing: bool = False,
    repack: bool = False,
    refit: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Run what is missing of a recipe; returns the finished run.

    Args:
        recipe: path of a YAML file, a mapping with the same keys (paths are relative to the current folder), or a
            :class:`curate.recipe.Recipe` with resolved paths.
        changes: as ``--set`` on the command line: ``["pack.window=4096"]``; not with a ``Recipe``.
        until: last stage to run.
        cpus: processors of a local Ray.
        address: a running Ray cluster.
        sample: share of the documents to take, by hash, in a workspace of its own.
        allow_missing: go on when an input of an earlier run has gone.
        repack: take all corpus-wide decisions again, over all inputs together; else new inputs are a generation of their own.
        refit: fit the models (tokenizer, projection, centroids) again, on the documents kept now.
        progress: what is told meanwhile (``curate.engine.progress``); nothing by default.

    Raises:
        RequestError: the request is wrong; nothing was started.
        RunError: something failed; what is committed stays, and the same call goes on.
    """
    from curate.driver.execute import run_recipe
    from curate.finished_run import Run

    outcome = run_recipe(
        as_recipe(recipe, changes),
        stop_after=until,
        cpus=cpus,
        address=address,
        sample=sample,
        allow_missing=allow_missing,
        repack=repack,
        refit=refit,
        progress=progress,
    )
    return Run(outcome.workspace, outcome.options)


def as_recipe(recipe: str | Path | Mapping[str, Any] | Recipe, changes: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, a mapping or a model, with ``changes`` applied.

    Raises:
        RecipeError: a wrong key or value.
    """
    from curate.base.errors import RecipeError
    from curate.recipe import Recipe, file

    if isinstance(recipe, Recipe):
        if changes:
            raise RecipeError("changes are applied to a file or a mapping; use recipe.model_copy(update=…) on a Recipe")
        return recipe
    if isinstance(recipe, Mapping):
        return file.from_dict(file.apply_changes(recipe, changes), base=Path.cwd())
    return file.load(recipe, changes)


def open_run(workspace: str | Path) -> Run:
    """The finished run in a workspace: a local folder or ``s3://bucket/prefix``.

    Raises:
        WorkspaceError: there is none.
    """
    from curate.finished_run import Run

    return Run(str(workspace))


def remove(
    workspace: str | Path,
    *,
    ids: Sequence[str] = (),
    where: str = "",
    like: str = "",
    by: str = "",
    reason: str = "",
    apply: bool = False,
    cpus: int | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> Removal:
    """Take documents down: with ``apply`` they leave every table and shard of a finished run, and are refused later.

    Args:
        workspace: a local folder or ``s3://bucket/prefix``.
        ids: ids or doc_ids of documents.
        where: a condition over metadata and signals, as in ``quality.where``.
        like: a text that documents hold word for word, or nearly are.
        by: who asks, for the audit.
        reason: why, for the audit.
        apply: do it; without, the documents are only found.
        cpus: processors of a local Ray.
        address: a running Ray cluster.
        progress: what is told meanwhile.

    Raises:
        RequestError: not one of ids, where and like is given, or one is wrong.
        WorkspaceError: there is no finished run.
    """
    from curate.driver.takedown import take_down
    from curate.driver.takedown_request import Request

    request = Request(tuple(ids), where, like, by, reason)
    return take_down(str(workspace), request, apply=apply, cpus=cpus, address=address, progress=progress)
