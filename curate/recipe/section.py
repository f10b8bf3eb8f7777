"""What every section of a recipe is, and names that come from a registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from curate.base.registry import Registry


class Section(BaseModel):
    """A part of the recipe; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class NameIn:
    """Marks a text as the name of an entry of a registry, by ``Annotated[str, NameIn(REGISTRY)]``.

    The registry is asked when a recipe is validated and when a type is shown, so registered entries count, too.
    """

    registry: Registry[Any]

    def names(self) -> tuple[str, ...]:
        """The names that are valid now."""
        return self.registry.names()

    def _checked(self, name: str) -> str:
        if name not in self.registry:
            raise PydanticKnownError("literal_error", {"expected": _listed(self.names())})
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": list(self.names()), "type": "string"}


def _listed(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else quoted[0]


def switch(value: Any) -> Any:
    """YAML 1.1 reads ``off`` as false."""
    return "off" if value is False else value


def section_or_off(value: Any) -> Any:
    """``on`` is a section with its defaults."""
    return {} if value is True or value == "on" else switch(value)
