"""Compare deposited studies with what the project's profile would make of them today.

Studies are retrieved and anonymised in a folder of their own, which is removed again; ledger and
zones stay as they are. Attributes are counted and no value is told.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from pacsgrid import grid
from pacsgrid.errors import PacsgridError
from pacsgrid.model import AnonymisedInstance
from pacsgrid.pacs import query_check
from pacsgrid.pacs.received_source import ReceivedSource
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.reprofile import outdated_studies

log = logging.getLogger(__name__)

_PREFIX = ".reprofile-"
# What a preview that was killed left is removed by a later one.
_ABANDONED_SECONDS = 86400.0


@dataclass
class Difference:
    """What would change in a study.

    Attributes
    ----------
    ref
        The study's reference.
    same, changed
        Instances whose files would stay as they are, and those that would not.
    missing
        Deposited instances that the source does not give any more.
    new
        Instances that are not deposited.
    held
        Files that would be held, by the reason's code.
    added, removed, replaced
        Attributes with the number of instances in which they would come, go or have another value.
    failure
        Why the study could not be compared; empty if it was.
    """

    ref: str
    same: int = 0
    changed: int = 0
    missing: int = 0
    new: int = 0
    held: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    replaced: Counter[str] = field(default_factory=Counter)
    failure: str = ""


def preview_new_versions(context: ProjectContext, studies: int) -> list[Difference]:
    """Compare some studies of another profile with what the context's profile would make of them.

    Parameters
    ----------
    context
        The project.
    studies
        How many studies to compare at most. Each is retrieved from its source.

    Returns
    -------
    list of Difference
        One for each study.
    """
    _remove_abandoned(context)
    return [_compare(context, ref) for ref, _ in outdated_studies(context, studies)]


def _compare(context: ProjectContext, ref: str) -> Difference:
    folder = context.site.staging / f"{_PREFIX}{ref}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    found = Difference(ref)
    try:
        _compare_in(context, ref, folder, found)
    except PacsgridError as error:
        log.warning("%s: cannot be compared: %s", ref, error)
        found.failure = str(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _compare_in(context: ProjectContext, ref: str, folder: Path, found: Difference) -> None:
    identity = context.vault.open(ref, context.ledger.vault.sealed(ref))
    study = query_check.study_from_identity(identity)
    staging, outbox = folder / "in", folder / "out"
    for one in (staging, outbox):
        one.mkdir(mode=0o700)
    source = context.source(identity["source"])
    if isinstance(source, ReceivedSource):
        source = source.with_originals()
    files = source.retrieve(study, staging)
    with context.processing:
        batch = context.processor.process_study([file.path for file in files], outbox)
    deposited = {row.sop_uid: row for row in context.ledger.instances.of_study(ref)}
    found.held.update(outcome.code for outcome in batch.held)
    found.new = sum(made.sop_uid not in deposited for made in batch.made)
    found.missing = max(0, len(deposited) - len(batch.made) - len(batch.held) + found.new)
    for made in batch.made:
        row = deposited.get(made.sop_uid)
        if row is None:
            continue
        if row.sha256 == made.sha256:
            found.same += 1
            continue
        found.changed += 1
        path = grid.object_path(context.home.settings.name, context.project.name, row)
        _count(found, grid.get_head(context.home, path, row.size), made)


def _count(found: Difference, before: bytes, made: AnonymisedInstance) -> None:
    """Count the attributes in which an instance would differ."""
    old, new = pydicom.dcmread(BytesIO(before)), pydicom.dcmread(made.path)
    for tag in sorted({*old.keys(), *new.keys()}):
        if tag not in old:
            found.added[_name(tag)] += 1
        elif tag not in new:
            found.removed[_name(tag)] += 1
        elif _raw(old, tag) != _raw(new, tag):
            found.replaced[_name(tag)] += 1


def _raw(dataset: Dataset, tag: int) -> object:
    element = dataset[tag]
    return element.VR, element.value


def _name(tag: int) -> str:
    text = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    keyword = keyword_for_tag(tag)
    return f"{keyword} {text}" if keyword else text


def _remove_abandoned(context: ProjectContext) -> None:
    for folder in context.site.staging.glob(f"{_PREFIX}st-*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def describe(found: Difference) -> list[str]:
    """Return the lines that tell what would change in a study."""
    if found.failure:
        return [f"{found.ref}: cannot be compared: {found.failure}"]
    counts = f"{found.same} instances stay as they are, {found.changed} change"
    if found.new:
        counts += f", {found.new} are new"
    if found.missing:
        counts += f", {found.missing} are not at the source any more"
    lines = [f"{found.ref}: {counts}"]
    lines += [f"  held as {code}: {number}" for code, number in sorted(found.held.items())]
    for word in ("added", "removed", "replaced"):
        counted: Counter[str] = getattr(found, word)
        lines += [f"  {word}: {name} in {number}" for name, number in sorted(counted.items())]
    return lines
