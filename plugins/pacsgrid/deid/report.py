"""Write the report of a study's de-identification: what was done by tag, and the verdict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import __version__
from .check import Counts
from .faces.marks import METHOD
from .profile import Profile

REPORT_NAME = "deidentification.json"


def study_report(
    subject: str,
    study_uid: str,
    profile: Profile,
    counts: Counts,
    held: Iterable[str],
    review: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """Return a study's report as JSON. It holds pseudonyms, tags and numbers only.

    Parameters
    ----------
    subject, study_uid
        Pseudonyms of patient and study.
    profile
        What the study was anonymised with.
    counts
        What the checker counted in sources and results.
    held
        The reason code of each file of the study that has no result.
    review
        The stewards' decisions that took effect on results.

    Returns
    -------
    bytes
        JSON in UTF-8.
    """
    report: dict[str, Any] = {
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
    if profile.faces == "remove":
        report["faces"] = {"action": profile.faces, "method": METHOD}
    if review:
        report["review"] = list(review)
    return json.dumps(report, indent=1).encode()


def join_reports(before: bytes, late: bytes) -> bytes:
    """Join the reports of a study to which late instances were added.

    Counts are added up, and stewards' decisions listed. Held files, software and profile are those
    of the late instances; other profiles used before are listed beside it.

    Parameters
    ----------
    before, late
        Reports of the study so far, and of the late instances.

    Returns
    -------
    bytes
        JSON in UTF-8.
    """
    old, new = json.loads(before), json.loads(late)
    profiles = [*old.pop("earlier_profiles", []), old["profile"]]
    for key in ("checker", "elements", "tags"):
        new[key] = _added(old[key], new[key])
    if review := [*old.get("review", []), *new.get("review", [])]:
        new["review"] = review
    if earlier := [one for one in profiles if one != new["profile"]]:
        new["earlier_profiles"] = earlier
    return json.dumps(new, indent=1).encode()


def _added(one: Any, other: Any) -> Any:
    if not isinstance(one, dict):
        return one + other if isinstance(one, int) else other
    both = one | other
    return {
        key: _added(one[key], other[key]) if key in one and key in other else both[key]
        for key in both
    }
