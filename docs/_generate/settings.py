"""The reference of the site file and of profiles, from their pydantic models."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from tables import table

from pacsgrid.config.schema import SiteFile
from pacsgrid.deid.profile import ProfileFile

Model = type[BaseModel]
_NAMES = {
    str: "text", int: "integer", float: "number", bool: "true or false", Path: "path",
    date: "date", Any: "anything", re.Pattern: "regular expression",
}  # fmt: skip


def site_file() -> str:
    """Return a section for each section of the site file."""
    return "\n\n".join(_sections(SiteFile))


def profile() -> str:
    """Return a section for each part of a profile."""
    return "\n\n".join(_sections(ProfileFile))


def sections(root: Model) -> dict[str, Model]:
    """Return every model below `root` by its path in the file, in the order of the file."""
    found = {"": root}
    pending = [("", root)]
    while pending:
        path, model = pending.pop(0)
        for name, info in model.model_fields.items():
            for inner, suffix in _models(info.annotation):
                place = f"{path}.{_key(name, info)}{suffix}".lstrip(".")
                if inner not in found.values():
                    found[place] = inner
                    pending.append((place, inner))
    return found


def _sections(root: Model) -> Iterator[str]:
    for path, model in sections(root).items():
        yield f"## `{path}`" if path else "## Top level"
        doc = inspect.getdoc(model) or ""
        if first := doc.split("\n\n")[0].replace("``", "`"):
            yield first
        told = attributes(doc)
        yield table(
            ("key", "type", "default", "meaning"),
            [
                (f"`{_key(n, i)}`", _type(i), _default(i), i.description or told.get(n, ""))
                for n, i in model.model_fields.items()
            ],
        )


def attributes(doc: str) -> Mapping[str, str]:
    """Return what a numpydoc ``Attributes`` section says, by attribute."""
    _, _, listed = doc.partition("Attributes\n----------\n")
    told: dict[str, str] = {}
    names: Sequence[str] = ()
    for line in listed.split("\n\n")[0].splitlines():
        if line and not line.startswith(" "):
            names = re.split(r",\s*", line.split(" : ")[0])
        for name in names if line.startswith(" ") else ():
            told[name] = f"{told.get(name, '')} {line.strip()}".strip().replace("``", "`")
    return told


def _key(name: str, info: FieldInfo) -> str:
    return info.alias or name


def _models(annotation: object) -> Iterator[tuple[Model, str]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation, ""
        return
    suffix = {dict: ".<name>", Mapping: ".<name>", list: "[]", tuple: "[]"}
    for argument in get_args(annotation):
        for model, rest in _models(argument):
            yield model, suffix.get(get_origin(annotation), "") + rest


def _type(info: FieldInfo) -> str:
    told = _annotation(info.annotation)
    bounds = {type(one).__name__: one for one in info.metadata}
    low, high = bounds.get("Ge"), bounds.get("Le")
    if low and high:
        told += f", {low.ge} to {high.le}"
    elif low:
        told += f", at least {low.ge}"
    if above := bounds.get("Gt"):
        told += f", above {above.gt}"
    if longest := bounds.get("MaxLen"):
        told += f", at most {longest.max_length} long"
    pattern = next((p for one in info.metadata if (p := getattr(one, "pattern", None))), None)
    if pattern and (words := re.fullmatch(r"\^\(([a-z|]+)\)\??\$", pattern)):
        told = ", ".join(f"`{word}`" for word in words[1].split("|"))
    return told


def _annotation(annotation: object) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotation(arguments[0])
    if origin is re.Pattern:
        return "regular expression"
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments if one != "")
    if origin in (Union, types.UnionType):
        told = (_annotation(one) for one in arguments if one is not type(None))
        return " or ".join(one for one in told if one)
    if origin in (list, tuple, set, frozenset):
        inner = next((one for one in arguments if one is not ...), str)
        return f"list of {_plural(_annotation(inner))}"
    if origin is not None and issubclass(origin, Mapping):
        return f"mapping of names to {_plural(_annotation(arguments[1]))}"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "section"
    return _NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _plural(told: str) -> str:
    return f"{told}s" if told in ("section", "integer", "number", "path", "date") else told


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    default = info.default
    if default is PydanticUndefined and info.default_factory is not None:
        default = info.default_factory()  # type: ignore[call-arg]
    if isinstance(default, re.Pattern):
        default = default.pattern
    if default in (None, "", [], {}, (), frozenset()) or isinstance(default, BaseModel):
        return ""
    if isinstance(default, frozenset):
        return ", ".join(f"`{one}`" for one in sorted(default))
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
