"""Alarms: a step that removed more of a source than the recipe's section ``alarms`` allows.

They are judged from what the tables' manifests say was removed (:mod:`curate.tables.losses`), so another limit, or a
loss that is accepted, is judged again without computing anything. A loss is judged for each generation by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curate.base import amounts
from curate.base.catalog import REMOVING_STEPS
from curate.recipe import Alarms, Recipe, cuts_paragraphs
from curate.recipe.alarms import rule_name
from curate.recipe.file import yaml_text
from curate.tables.losses import Loss

_PARTS = 1_000_000
"""Shares are compared as whole millionths: 0.58 of 50 documents is 29."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A loss that is larger than the recipe allows.

    Attributes:
        step: what removed, of :data:`curate.base.catalog.REMOVING_STEPS`.
        source: whose documents.
        generation: which of the workspace's generations, where it has several; None: there is one.
        of: what came to the step.
        removed: what it removed.
        reasons: the same by reason, most first.
        set_aside: reasons that the recipe accepts, and that were left out of the comparison.
        accepted: the recipe accepts the whole loss.
        stops: the run ends here.
    """

    step: str
    source: str
    generation: int | None
    of: int
    removed: int
    reasons: dict[str, int]
    set_aside: tuple[str, ...] = ()
    accepted: bool = False
    stops: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, with the share."""
        return {**asdict(self), "set_aside": list(self.set_aside), "share": round(self.removed / self.of, 4)}

    @property
    def least_share(self) -> float:
        """The smallest share of two digits that accepts it."""
        return -(-self.removed * 100 // self.of) / 100


def judge(losses: Iterable[Loss], recipe: Recipe, generations: int = 1) -> list[Alarm]:
    """The alarms of some losses, in their order.

    A rule that is accepted, and removed no more than its share, is set aside: what the others removed is compared with
    what it left. A step that is accepted is compared whole.
    """
    section, alarms = recipe.alarms, []
    for loss in losses:
        if loss.step == "dedup.paragraphs" and not cuts_paragraphs(recipe):
            continue  # they are counted only
        accepted = section.accept.get(loss.source, {})
        aside = tuple(reason for reason in loss.removed if _is_accepted(loss, reason, accepted))
        removed, set_aside = sum(loss.removed.values()), sum(loss.removed[reason] for reason in aside)
        rest, left = removed - set_aside, loss.of - set_aside
        few = loss.of < section.min_documents
        if rest == 0 or not _exceeds(rest, left, section.removed_share) or (few and rest < left):
            continue
        within = loss.step in accepted and not _exceeds(removed, loss.of, accepted[loss.step])
        reasons = dict(sorted(loss.removed.items(), key=lambda item: (-item[1], item[0])))
        stops = section.action == "stop" and not within and not few
        generation = loss.generation if generations > 1 else None
        alarms.append(Alarm(loss.step, loss.source, generation, loss.of, removed, reasons, aside, within, stops))
    return alarms


def _exceeds(part: int, whole: int, share: float) -> bool:
    return part * _PARTS > round(share * _PARTS) * whole


def _is_accepted(loss: Loss, reason: str, accepted: Mapping[str, float]) -> bool:
    """Whether a rule that is accepted gave this reason, and no more often than that."""
    for name, share in accepted.items():
        if name == loss.step or not _gives(name, loss.step, reason):
            continue
        removed = sum(number for other, number in loss.removed.items() if _gives(name, loss.step, other))
        if not _exceeds(removed, loss.of, share):
            return True
    return False


def _gives(name: str, step: str, reason: str) -> bool:
    rule = rule_name(step, reason)
    return rule == name or rule.startswith(f"{name}.")


def describe(alarm: Mapping[str, Any]) -> str:
    """An alarm (:meth:`Alarm.as_dict`) in one line."""
    step, source, of, removed = (alarm[name] for name in ("step", "source", "of", "removed"))
    own = "" if alarm["generation"] is None else f", generation {alarm['generation']} by itself"
    text = f"{source}{own}: {step} removed {removed:,} of {of:,} ({amounts.share(removed, of)}), {REMOVING_STEPS[step]}"
    if len(alarm["reasons"]) > 1:
        reason, number = next(iter(alarm["reasons"].items()))
        text += f", most of them by {reason} ({number:,})"
    return text + (", as the recipe accepts" if alarm["accepted"] else "")


def accepting(alarms: Sequence[Alarm], section: Alarms) -> str:
    """The section ``alarms`` on one line, with which a recipe accepts what is not accepted yet, and no more."""
    accept = {source: dict(shares) for source, shares in section.accept.items()}
    for alarm in alarms:
        if not alarm.accepted:
            shares = accept.setdefault(alarm.source, {})
            shares[alarm.step] = max(alarm.least_share, shares.get(alarm.step, 0.0))
    given = section.model_dump(mode="json", exclude_unset=True, exclude={"accept"})
    return f"alarms: {yaml_text({**given, 'accept': accept})}"


def stop_message(alarms: Sequence[tuple[Alarm, Sequence[str]]], recipe: Recipe) -> str:
    """What a run that stops says: each loss with its examples, and the line that accepts them all."""
    lines = [
        f"stopped: more than {_percent(recipe.alarms.removed_share)} of a source was removed (alarms.removed_share). "
        "What is done stays, nothing later was computed"
    ]
    for alarm, examples in alarms:
        lines.append(describe(alarm.as_dict()))
        lines += [f"  {example}" for example in examples]
    return "\n".join(
        [
            *lines,
            "If that is right, write this line into the recipe and run it again, which computes nothing twice:",
            f"  {accepting([alarm for alarm, _ in alarms], recipe.alarms)}",
            "To look at what was removed, run with --set alarms.action=warn, then use `curate sample` and `curate report`",
        ]
    )


def about(section: Alarms) -> list[str]:
    """The alarms in force, in words."""
    if section.removed_share == 1:
        return ["alarms: none (alarms.removed_share is 1)"]
    does = {"warn": "is said at the end", "stop": "stops the run"}[section.action]
    lines = [f"alarms: a step that removes more than {_percent(section.removed_share)} of a source {does}"]
    for source, shares in section.accept.items():
        listed = ", ".join(f"{name} up to {_percent(share)}" for name, share in shares.items())
        lines.append(f"alarms: accepted of {source}: {listed}")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
