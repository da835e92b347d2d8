"""The fields of the trigger forms: the names come from the site file, so a new source or project
is in every form without touching a DAG.

Read when a DAG file is parsed; opens no connection and no secret.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from pacsgrid.config import site_names

NAME = "^[A-Za-z0-9][A-Za-z0-9_-]*$"
REF = "^st-[0-9a-f]{20}$"
SELECTION = "^sel-[0-9a-f]{20}$"
MODALITY = "^[A-Z0-9]{2,16}$"


def _choice(names: tuple[str, ...], **more: Any) -> Param:
    if names:
        return Param(names[0], type="string", enum=list(names), **more)
    return Param("", type="string", pattern=NAME, **more)


def source() -> Param:
    """One of the site's sources."""
    return _choice(site_names().sources, title="Source", description="Where the studies come from.")


def project() -> Param:
    """One of the site's projects."""
    return _choice(site_names().projects, title="Project", description="Whom they are for.")


def profile() -> Param:
    """The project's own profile, or one of those that the site file allows instead."""
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *site_names().profiles],
        title="Profile",
        description="How to anonymise; empty for the project's own profile.",
    )


def date(which: str) -> Param:
    """A limit of the study date, inclusive."""
    return Param(
        None, type=["null", "string"], format="date", title=f"Study date {which} (inclusive)"
    )


def modalities() -> Param:
    """Modalities, any of which may match (0008,0061)."""
    return Param(
        [],
        type="array",
        items={"type": "string", "pattern": MODALITY},
        title="Modalities",
        description="Such as CT or MR, one a line; none for all.",
    )


def selection() -> Param:
    """The name of a sealed selection of patients, accessions and studies."""
    return Param(
        None,
        type=["null", "string"],
        pattern=SELECTION,
        title="Selection",
        description="Patients, accessions or studies are named on the page pacsgrid, Ingest, so "
        "that no run holds what identifies them; it hands over a selection's name.",
    )


def dry_run() -> Param:
    """Whether to ask the source only."""
    return Param(
        False,
        type="boolean",
        title="Dry run",
        description="Ask the source and tell what would be taken; nothing is entered or moved.",
    )


def pending() -> Param:
    """Whether to take what the ledger knows already instead of asking the source."""
    return Param(
        False,
        type="boolean",
        title="Pending only",
        description="Take the source's studies that were found earlier and have a way to go; the "
        "source is not asked for others.",
    )
