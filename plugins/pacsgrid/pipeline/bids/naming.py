"""Give the images of a study's series their BIDS names, by the rules file."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pacsgrid.config.bids import ENTITIES, BidsRule, BidsRules
from pacsgrid.model import SeriesFacts
from pacsgrid.pacs.series_selection import matches
from pacsgrid.pipeline.bids.conversion import Image
from pacsgrid.uids import named

_ECHO = re.compile(r"e([0-9]{1,2})(?:_|$)", re.ASCII)
_ORDER = ("task", "tracer", "acq", "ce", "rec", "dir", "run", "echo", "inv", "part")
assert set(ENTITIES) <= set(_ORDER)


@dataclass(frozen=True)
class NamedImage:
    """An image with its place in the data set.

    Attributes
    ----------
    stem
        Its path below the data set, without suffix: ``sub-X/ses-Y/anat/sub-X_ses-Y_T1w``.
    task
        The name of the task, for images of datatype func.
    """

    image: Image
    series_uid: str
    stem: str
    task: str = ""


def rule_for(rules: BidsRules, facts: SeriesFacts) -> tuple[BidsRule | None, str]:
    """Return the rule that names a series, or None and why there is none.

    Parameters
    ----------
    rules
        The rules file.
    facts
        What the series' headers say.
    """
    for number, excluded in enumerate(rules.exclude, 1):
        if matches(excluded, facts):
            return None, f"left out by exclude {number} of the rules"
    for rule in rules.rules:
        if matches(rule, facts):
            return rule, ""
    return None, "no rule names it"


def unfit(rule: BidsRule, image: Image) -> str:
    """Return why BIDS does not allow an image under a rule's datatype; empty if it does.

    Parameters
    ----------
    rule
        The rule.
    image
        The image.
    """
    if rule.datatype == "dwi" and not (image.beside(".bval") and image.beside(".bvec")):
        return "it has no gradient directions, so it is no dwi image"
    if rule.datatype == "anat" and image.dimensions > 3:
        return "it has several volumes, so it is no anat image"
    return ""


def subject_label(subject: str) -> str:
    """Return the label of a subject: its pseudonym, as letters and digits."""
    return re.sub(r"[^A-Za-z0-9]", "", named(subject))


def session_label(study_uid: str) -> str:
    """Return the label of a study, which stays the same in every version of a release."""
    return hashlib.sha256(study_uid.encode()).hexdigest()[:8]


def name_images(
    subject: str, study_uid: str, found: Sequence[tuple[str, BidsRule, Image]]
) -> list[NamedImage]:
    """Name the images of a study; those that would have one name are numbered as runs.

    Parameters
    ----------
    subject
        The subject's pseudonym.
    study_uid
        The study's UID.
    found
        Series UID, rule and image, in the order of their numbers.

    Returns
    -------
    list of NamedImage
        The images, in the same order.
    """
    session = f"sub-{subject_label(subject)}/ses-{session_label(study_uid)}"
    prefix = session.replace("/", "_")
    parts = [(_entities(rule, image), _suffix(rule, image)) for _, rule, image in found]
    keys = [(rule.datatype, *part) for (_, rule, _), part in zip(found, parts, strict=True)]
    sizes, seen = Counter(map(str, keys)), Counter[str]()
    result = []
    for (series_uid, rule, image), (entities, suffix), key in zip(found, parts, keys, strict=True):
        if sizes[str(key)] > 1:
            seen[str(key)] += 1
            entities = {**entities, "run": str(seen[str(key)])}
        labels = [f"{name}-{entities[name]}" for name in _ORDER if name in entities]
        stem = f"{session}/{rule.datatype}/{'_'.join([prefix, *labels, suffix])}"
        task = entities.get("task", "") if rule.datatype == "func" else ""
        result.append(NamedImage(image, series_uid, stem, task))
    return result


def _suffix(rule: BidsRule, image: Image) -> str:
    # A functional image of one volume is a reference.
    return "sbref" if rule.suffix == "bold" and image.dimensions < 4 else rule.suffix


def _entities(rule: BidsRule, image: Image) -> dict[str, str]:
    entities = dict(rule.entities)
    if "part" not in entities and "ph" in image.mark.split("_"):
        entities["part"] = "phase"
    if rule.datatype == "func" and (echo := _ECHO.search(image.mark)):
        entities["echo"] = echo[1]
    return entities
