"""Fitting: a stage's model is fitted once a workspace, stored with its checksum, and used from then on.

Its key covers what the recipe says about it and the stage's version, and neither data nor what earlier stages do. So
other thresholds or more inputs keep the tokenizer, the projection and the centroids, and rows made with them stay what
they were, until a run is told to refit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from curate.base.errors import WorkspaceError
from curate.base.hashing import digest
from curate.tables.json_envelope import decode, encode
from curate.tables.snapshot import TableFile

if TYPE_CHECKING:
    from curate.engine.stage import Spec, StageRun

GROWTH = 2
"""A model is called outdated when its sample could now be this many times as large."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How the model of a stage is made: by the task ``function`` with the parameters of ``spec()``.

    ``settings`` are all that makes it another model. ``size`` is what a sample taken now would hold, in ``unit``;
    0 where the model does not depend on a sample.
    """

    name: str
    settings: Any
    function: Callable[..., None]
    spec: Callable[[], Spec]
    size: int = 0
    unit: str = "bytes of text"


def fitted(run: StageRun, fit: Fit, *, may_fit: bool) -> TableFile | None:
    """The stored model, else the one fitted now; None when there is none and ``may_fit`` is false.

    A run that refits takes the stored one only if it was fitted on the very same tables. Later generations take what the
    first one has. What was fitted on nothing is fitted again once there is something.
    """
    key = digest([run.stage.name, run.stage.version, fit.name, fit.settings])
    place = f"artefacts/{key}/{fit.name}.json"
    origin = digest([run.tables[table].content for table in run.stage.reads])
    try:
        stored = run.storage.read(place)
    except FileNotFoundError:
        stored = None
    if stored is not None:
        known = _decode(run, place, stored)
        file: TableFile = known["file"]
        of_nothing = known["size"] == 0 < fit.size  # nothing was kept when it was fitted
        kept = not run.refit or bool(run.earlier) or known["origin"] == origin
        if run.present([file]) and kept and not of_nothing:
            if fit.size >= GROWTH * max(known["size"], 1) and not run.earlier:
                run.progress.say(
                    f"{run.stage.name}: its model ({fit.name}) stays as it was fitted on {known['size']:,} {fit.unit}; now "
                    f"there are {fit.size:,}. `--refit` fits it again, and what depends on it is made anew"
                )
            return file
    if not may_fit:
        return None
    file = run.step("artefacts", fit.function, [fit.spec()], key).files("artefacts")[0]
    run.check()
    entry = {"file": asdict(file), "origin": origin, "size": fit.size}
    if not run.storage.put_if(place, encode(entry, sort_keys=True), stored):
        # Someone else has put one since: the first is everybody's.
        found: TableFile = _decode(run, place, run.storage.read(place))["file"]
        return found
    return file


def _decode(run: StageRun, path: str, raw: bytes) -> dict[str, Any]:
    """The entry of a model: its ``file``, the ``origin`` and the ``size`` of what it was fitted on."""
    place = f"{run.storage.url}/{path}"
    try:
        known = decode(raw, place)
        return {"file": TableFile(**known["file"]), "origin": str(known["origin"]), "size": int(known["size"])}
    except (ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"{place} is damaged ({error}); delete it, and the model is fitted again") from None
