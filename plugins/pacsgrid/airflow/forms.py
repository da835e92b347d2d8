"""The fields of the trigger forms.

Names come from the site file, so that a new source or project is in every form without a change of
a DAG. Read when a DAG file is parsed: opens no connection and reads no secret.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from pacsgrid.config import site_names

NAME = "^[A-Za-z0-9][A-Za-z0-9_-]*$"
RELEASE = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
REF = "^st-[0-9a-f]{20}$"
INGEST = "^in-[0-9a-f]{20}$"
SELECTION = "^sel-[0-9a-f]{20}$"
SERIES_RULE = "^[ ]*[a-z_]+[ ]*(<=|>=|<|>|=).{1,1000}$"
MODALITY = "^[A-Z0-9]{2,16}$"


# A derived subject, and one from outside.
_DERIVED, _FROM_OUTSIDE = "S[A-Z2-7]{12}", "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


def subject_pattern() -> str:
    """Return the pattern of subjects, as narrow as the site's projects allow."""
    return _FROM_OUTSIDE if site_names().subjects_from_outside else _DERIVED


def _choice(names: tuple[str, ...], **more: Any) -> Param:
    if names:
        return Param(names[0], type="string", enum=list(names), **more)
    return Param("", type="string", pattern=NAME, **more)


def source() -> Param:
    """Return the field that chooses one of the site's sources."""
    return _choice(site_names().sources, title="Source", description="Where the studies come from.")


def project() -> Param:
    """Return the field that chooses one of the site's projects."""
    return _choice(site_names().projects, title="Project", description="What they are for.")


def profile() -> Param:
    """Return the field that chooses a profile instead of the project's own."""
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *site_names().profiles],
        title="Profile",
        description="How to anonymise; empty for the project's own profile.",
    )


def date(which: str) -> Param:
    """Return the field for a limit of the study date, ``from`` or ``to``; both are inclusive."""
    return Param(
        None, type=["null", "string"], format="date", title=f"Study date {which} (inclusive)"
    )


def modalities() -> Param:
    """Return the field for Modalities in Study (0008,0061), any of which may match."""
    return Param(
        [],
        type="array",
        items={"type": "string", "pattern": MODALITY},
        title="Modalities",
        description="Such as CT or MR, one per line; none for all.",
    )


def series(which: str) -> Param:
    """Return the field for rules about series, ``include`` or ``exclude``."""
    return Param(
        [],
        type="array",
        items={"type": "string", "pattern": SERIES_RULE},
        maxItems=50,
        title=f"Series: {which}",
        description="Rules, one per line, such as modality=CT; slice_thickness<=1.5 or "
        "description=scout. They limit what the project takes.",
    )


def selection() -> Param:
    """Return the field for the name of a sealed selection of patients, accessions and studies."""
    return Param(
        None,
        type=["null", "string"],
        pattern=SELECTION,
        title="Selection",
        description="Name patients, accessions or studies on the page pacsgrid, Ingest. It seals "
        "them and fills in this name, so that no run holds what identifies them.",
    )


def dry_run() -> Param:
    """Return the field that only asks the source and takes nothing."""
    return Param(
        False,
        type="boolean",
        title="Dry run",
        description="Ask the source and log what would be taken; nothing is entered or moved.",
    )


def pending() -> Param:
    """Return the field that takes the studies already in the ledger, without asking the source."""
    return Param(
        False,
        type="boolean",
        title="Pending only",
        description="Take the source's studies that were found earlier and are not finished; the "
        "source is not asked for new ones.",
    )


def ingest() -> Param:
    """Return the field for the ingest that a further wave goes on with."""
    return Param(
        None,
        type=["null", "string"],
        pattern=INGEST,
        title="Ingest",
        description="The ingest whose next wave this is; its studies are in the ledger, so the "
        "source is not asked. `pacsgrid backfill status` lists the ingests.",
    )
