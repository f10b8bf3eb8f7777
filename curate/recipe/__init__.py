"""The recipe: typed models of everything a run can be told, every field with a default and a one-line description.

Only ``inputs`` is required. Relative paths are relative to the folder of the recipe file. Names of formats, methods and
rule sets come from the registries; :mod:`curate.recipe.file` reads recipe files and says what is wrong in them, where.
"""

from __future__ import annotations

from curate.recipe.alarms import Alarms
from curate.recipe.dedup import Decontaminate, Dedup, Near, Paragraphs
from curate.recipe.quality import Quality
from curate.recipe.recipe import Input, ObjectStorage, Recipe, cuts_paragraphs, preferred_signals
from curate.recipe.relate import Order
from curate.recipe.shards import Pack

__all__ = [
    "Alarms",
    "Decontaminate",
    "Dedup",
    "Input",
    "Near",
    "ObjectStorage",
    "Order",
    "Pack",
    "Paragraphs",
    "Quality",
    "Recipe",
    "cuts_paragraphs",
    "preferred_signals",
]
