"""The base of pydantic models for files that people write, and error messages about them."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class StrictModel(BaseModel):
    """A part of a settings file: immutable, and an unknown key in it is an error.

    Values are kept out of pydantic's error texts, because one of them may be a secret.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed.

        Parameters
        ----------
        changes
            The new values by the name of their field.

        Raises
        ------
        pydantic.ValidationError
            A field is unknown or a value is wrong.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate({**given, **changes})


def describe_errors(error: ValidationError) -> str:
    """Return which keys of a file are wrong, and how, without quoting a value.

    Entries of lists are counted from 1: ``gateway.tokens entry 2, name: is not set``.
    """
    return "; ".join(_describe(e["loc"], e["type"], e["msg"]) for e in error.errors())


def _describe(location: tuple[int | str, ...], kind: str, message: str) -> str:
    place = ""
    for part in location:
        if isinstance(part, int):
            place = f"{place} entry {part + 1}".lstrip()
        elif place:
            place += f", {part}" if place[-1].isdigit() else f".{part}"
        else:
            place = part
    if kind == "extra_forbidden":
        message = "there is no such key; correct or remove it"
    elif kind == "missing":
        message = "is not set, and has no default"
    elif kind == "model_type":
        message = "must have keys of its own, each with a value"
    text = message.removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{place}: {text}" if place else text
