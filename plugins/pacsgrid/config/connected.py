"""Sections completed with an Airflow connection, and settings that are asked for later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pacsgrid.config.schema import what_is_wrong
from pacsgrid.errors import ConfigError

_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=BaseModel)
# What names a secret; the settings hold the secret itself.
SECRETS = {"password_env", "password_file", "token_env", "token_file"}


def completed(where: str, given: _Model, held: Mapping[str, Any]) -> _Model:
    """Complete settings with those of a connection; what the file says itself goes before."""
    fields = {k: v for k, v in held.items() if k in type(given).model_fields}
    try:
        return type(given).model_validate({**fields, **given.model_dump(exclude_unset=True)})
    except ValidationError as error:
        raise ConfigError(f"{where}: {what_is_wrong(error)}") from None


def later(connection: str, make: Callable[[], _T]) -> _T | Callable[[], _T]:
    """Make settings now, or at first use where a connection has to be asked for them."""
    return make if connection else make()
