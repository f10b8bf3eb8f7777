"""What every section of a recipe is."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the recipe; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def switch(value: Any) -> Any:
    """YAML 1.1 reads ``off`` as false."""
    return "off" if value is False else value


def section_or_off(value: Any) -> Any:
    """``on`` is a section with its defaults."""
    return {} if value is True or value == "on" else switch(value)
