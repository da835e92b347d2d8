"""What a project's releases say of themselves: licence, publisher, creators and DOI."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from pacsgrid.config.base import Section

_ORCID = r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]"


class Creator(Section):
    """One entry of a project's `release.creators`: whom a citation names."""

    name: str = Field(
        min_length=1, description="`Family name, Given name`, or the name of an organisation."
    )
    organisation: bool = Field(
        default=False, description="Whether it is an organisation, not a person."
    )
    orcid: str = Field(
        default="", pattern=f"^({_ORCID})?$", description="The person's ORCID iD, without address."
    )
    affiliation: str = Field(default="", description="The person's institution.")


class DoiSection(Section):
    """A project's `release.doi`: where a DOI is reserved for each version of a release."""

    connection: str = Field(
        min_length=1,
        description="The Airflow connection (of type `datacite`) with the address and the account "
        "of a service that answers as DataCite's REST API does.",
    )
    prefix: str = Field(
        pattern=r"^10\.\d{4,9}(\.\d+)*$",
        description="The account's DOI prefix, such as `10.5072`.",
    )


class ReleaseSection(Section):
    """A project's `release`: what its releases say of themselves."""

    licence: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9.+-]*$",
        description="Identifier of the licence in the SPDX list, such as `CC-BY-4.0`. Without one, "
        "releases say that none is granted.",
    )
    terms: str = Field(
        default="",
        max_length=10_000,
        description="Terms of use, in words, beside the licence or instead of it.",
    )
    publisher: str = Field(default="", description="Who publishes the project's releases.")
    creators: tuple[Creator, ...] = Field(
        default=(), description="Whom a citation names; by default the publisher."
    )
    description: str = Field(
        default="", max_length=10_000, description="What the images are, for catalogues."
    )
    landing_page: str = Field(
        default="",
        description="Address of a version's page, such as "
        "`https://data.example.org/{project}/{name}/v{version}`.",
    )
    doi: DoiSection | None = Field(
        default=None, description="Where DOIs are reserved; by default none are."
    )

    @field_validator("landing_page")
    @classmethod
    def _check_page(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("give an address that begins with https://")
        if re.search(r"[{}]", re.sub(r"\{(project|name|version)\}", "", value)):
            raise ValueError("only {project}, {name} and {version} are filled in")
        return value

    @model_validator(mode="after")
    def _check_doi(self) -> Self:
        if self.doi and not self.publisher:
            raise ValueError("doi needs publisher, which every DOI must name")
        return self
