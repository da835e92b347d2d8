"""The rules file that gives series their BIDS names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pacsgrid.config.base import Section
from pacsgrid.config.series import MOST_RULES, SeriesRule
from pacsgrid.errors import ConfigError
from pacsgrid.validation import describe_errors

DATATYPES = frozenset({"anat", "dwi", "fmap", "func", "perf", "pet"})
"""Datatypes of BIDS that a scanner's images can have; others go to ``.bidsignore``."""

# The entities that a rule may set, in the order of a file's name (BIDS, appendix Entities).
ENTITIES = ("task", "tracer", "acq", "ce", "rec", "dir", "inv", "part")
_LABEL = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
DEFAULT_RULES = Path(__file__).with_name("bids_rules.yaml")


class BidsRule(SeriesRule):
    """One rule: series that match all of its conditions get this name."""

    datatype: str = Field(description="The folder, such as `anat`; `ct` for what BIDS lacks.")
    suffix: str = Field(description="What the name ends with, such as `T1w`.")
    entities: dict[str, str] = Field(
        default={}, description="Entities of the name, such as `{task: rest}`."
    )

    @field_validator("datatype", "suffix")
    @classmethod
    def _check_label(cls, text: str) -> str:
        if not _LABEL.fullmatch(text):
            raise ValueError("must be letters and digits")
        return text

    @model_validator(mode="after")
    def _check_entities(self) -> Self:
        for name, label in self.entities.items():
            if name not in ENTITIES:
                raise ValueError(f"entities must be among {', '.join(ENTITIES)}")
            if not _LABEL.fullmatch(label):
                raise ValueError("the label of an entity must be letters and digits")
        if self.suffix in ("bold", "sbref") and "task" not in self.entities:
            raise ValueError("a series of datatype func needs entities: {task: ...}")
        return self


class BidsRules(Section):
    """A rules file: the first rule that matches a series names its images."""

    exclude: tuple[SeriesRule, ...] = Field(
        default=(), max_length=MOST_RULES, description="Series that are not converted."
    )
    rules: tuple[BidsRule, ...] = Field(
        max_length=MOST_RULES, description="Rules for the others, tried in this order."
    )


def load_bids_rules(path: Path | None) -> BidsRules:
    """Read a rules file.

    Parameters
    ----------
    path
        The YAML file; None for the rules that come with pacsgrid.

    Raises
    ------
    ConfigError
        The file cannot be read, or a rule is wrong.
    """
    file = path or DEFAULT_RULES
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
        return BidsRules.model_validate(given)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(f"{file}: is no YAML file") from None
    except ValidationError as error:
        raise ConfigError(f"{file}: {describe_errors(error)}") from None
