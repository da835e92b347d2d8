"""Record what leaves in other ways than through the gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pacsgrid.ledger import InstanceRecord
from pacsgrid.ledger.disclosures import Disclosure
from pacsgrid.pipeline.context import ProjectContext


def note_disclosure(
    context: ProjectContext,
    who: str,
    way: str,
    detail: str,
    rows: Sequence[InstanceRecord] = (),
    classes: Mapping[str, int] | None = None,
) -> None:
    """Record that something is about to leave, where the site file has a section `audit`.

    Parameters
    ----------
    context
        The project.
    who
        Who gets it, or gives it away.
    way
        How, see `Disclosure.way`.
    detail
        What: a collection, a destination, a reason.
    rows
        The instances of one study, where it is one.
    classes
        How many they are, by SOP Class UID.

    Raises
    ------
    RetryableError
        The ledger does not answer.
    """
    settings = context.site.audit
    if settings is None:
        return
    subject, study = (rows[0].subject, rows[0].study_uid) if rows else ("", "")
    record = Disclosure(context.project.name, subject, study, classes or {}, who, way, "", detail)
    context.ledger.disclosures.add([record], bool(settings.host))
