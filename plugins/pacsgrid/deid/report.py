"""The report of a study's de-identification: what was done, by tag, and the checker's verdict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from .. import __version__
from .check import Counts
from .profile import Profile

REPORT_NAME = "deidentification.json"


def study_report(
    subject: str, study_uid: str, profile: Profile, counts: Counts, held: Iterable[str]
) -> bytes:
    """Return a study's report as JSON; it holds pseudonyms, tags and numbers alone.

    Parameters
    ----------
    subject, study_uid
        Pseudonyms.
    counts
        The checker's: taken from results and sources, not from what the actions say of
        themselves.
    held
        The reason of each file of the study that has no result.
    """
    report = {
        "subject": subject,
        "study": study_uid,
        "software": f"pacsgrid {__version__}",
        "profile": {
            "name": profile.name,
            "version": profile.version,
            "hash": profile.hash,
            "options": sorted(profile.options),
        },
        "checker": {
            "verdict": "passed",
            "instances": counts.instances,
            "frames_read_for_text": counts.frames_read,
        },
        "held": dict(sorted(Counter(held).items())),
        "elements": counts.totals(),
        "tags": counts.tags(),
    }
    return json.dumps(report, indent=1).encode()
