"""Derive a BIDS data set from a version of a release, study by study.

It stands beside the release's other documents, in the collection ``bids``. A study's record, which
is put last, says which files it became; its name holds a digest of the study's objects, of the
rules and of the converter's version. So a run that was killed converts what has no record yet, and
a new version of a release takes over what an earlier one has.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pydicom

from pacsgrid import grid
from pacsgrid.config.bids import BidsRules, load_bids_rules
from pacsgrid.deid.check.identity import Identity
from pacsgrid.disk import sha256_of
from pacsgrid.errors import ConfigError, HeldError, RetryableError, ZoneError
from pacsgrid.grid.fetch import StoredObject, fetch_all, stored_below
from pacsgrid.grid.files import names_with, put_file
from pacsgrid.grid.layout import PARTIAL
from pacsgrid.ledger.data_sets import DataSet, DataSetFile
from pacsgrid.model import SeriesFacts
from pacsgrid.pacs.slice_header import facts_of, read_slice
from pacsgrid.pipeline.bids.conversion import convert, converter_version
from pacsgrid.pipeline.bids.dataset import dataset_documents
from pacsgrid.pipeline.bids.naming import NamedImage, name_images, rule_for, unfit
from pacsgrid.pipeline.bids.sidecars import check_image, clean_sidecar, dump, identity_of
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.release import release_collection
from pacsgrid.uids import checked, named, place

log = logging.getLogger(__name__)

# Counts up when the same input would be written in another way.
_FORMAT = 1
_WAIT_SECONDS = 5


@dataclass(frozen=True)
class Derivative:
    """A version of a release, and what its data set is made of.

    Attributes
    ----------
    context
        The project.
    name, version
        The release's name and the version's number.
    studies
        The objects of each study, by its UID.
    rules
        The rules file.
    """

    context: ProjectContext
    name: str
    version: int
    studies: Mapping[str, Sequence[StoredObject]]
    rules: BidsRules

    @property
    def collection(self) -> str:
        """The version's collection."""
        context = self.context
        return release_collection(context.home, context.project.name, self.name, self.version)

    @property
    def root(self) -> str:
        """The data set's collection."""
        return f"{self.collection}/bids"

    @property
    def records(self) -> str:
        """The collection of the studies' records."""
        return f"{self.root}/code/conversion"

    @property
    def data_set(self) -> DataSet:
        """What the ledger calls the data set."""
        return DataSet(self.context.project.name, self.name, self.version)

    @cached_property
    def _how(self) -> str:
        rules = json.dumps(self.rules.model_dump(), sort_keys=True)
        return f"{_FORMAT} {converter_version()} {rules}"

    def record_name(self, study_uid: str) -> str:
        """Return the name of a study's record; another one if it would be converted otherwise."""
        lines = [self._how, *sorted(f"{one.path} {one.sha256}" for one in self.studies[study_uid])]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        return f"{checked(study_uid)}.{digest[:16]}.json"

    def pending(self) -> list[str]:
        """Return the studies that are not converted yet; the zone is asked once."""
        there = {
            one.path.rsplit("/", 1)[1] for one in stored_below(self.context.home, self.records)
        }
        return [uid for uid in sorted(self.studies) if self.record_name(uid) not in there]


@dataclass
class _Study:
    """What a study becomes."""

    images: list[NamedImage] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    participant: dict[str, str] = field(default_factory=dict)


def open_derivative(context: ProjectContext, name: str, version: int = 0) -> Derivative:
    """Return the derivative of a version of a release; nothing is converted yet.

    Parameters
    ----------
    context
        The project.
    name
        The release's name.
    version
        The version's number; 0 for the newest.

    Raises
    ------
    ConfigError
        There is no such version, or the rules file is wrong.
    ZoneError, ZoneUnavailableError
        The home zone refused, or does not answer.
    """
    project = context.project.name
    versions = context.ledger.releases.versions(project, name)
    found = [one.version for one in versions if one.retired_at is None]
    if not found or version not in (0, *found):
        wanted = f"version {version} of release {name}" if version else f"release {name}"
        raise ConfigError(f"project {project} has no {wanted}; `pacsgrid cohort` makes one")
    number = version or found[-1]
    collection = release_collection(context.home, project, name, number)
    return Derivative(
        context,
        name,
        number,
        _studies(context, collection),
        load_bids_rules(context.project.bids_rules),
    )


def _studies(context: ProjectContext, collection: str) -> dict[str, list[StoredObject]]:
    """Return the objects that a version's manifest lists, by study."""
    home = context.home
    root = collection.split("/releases/")[0]
    manifest = next(stored_below(home, f"{collection}/manifest.json"), None)
    if manifest is None:
        raise ZoneError(f"{collection}: has no manifest; release the cohort again")
    with tempfile.TemporaryDirectory(dir=context.site.outbox, prefix=".bids-") as folder:
        file = Path(folder) / "manifest.json"
        if fetch_all(home, {manifest: file}).bad:
            raise ZoneError(f"{collection}: its manifest is damaged; release the cohort again")
        listed = json.loads(file.read_bytes())["objects"]
    studies: dict[str, list[StoredObject]] = {}
    for one in listed:
        _, subject, study, series, sop = one["path"].split("/")
        uids = (checked(study), checked(series), checked(sop.removesuffix(".dcm")))
        path = f"{root}/data/{named(subject)}/{'/'.join(uids)}.dcm"
        studies.setdefault(study, []).append(StoredObject(path, one["size"], one["sha256"]))
    return studies


def convert_studies(
    derivative: Derivative,
    study_uids: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Counter[str]:
    """Convert studies, each whole or not at all.

    Parameters
    ----------
    derivative
        What is derived.
    study_uids
        The studies; those that are converted already cost little.
    progress
        Called with the studies done and their number.

    Returns
    -------
    Counter
        How many studies were ``converted``, ``taken over`` from an earlier version, ``refused``
        or ``there`` already.

    Raises
    ------
    RetryableError
        Some studies may be converted later.
    """
    counts: Counter[str] = Counter()
    later = ""
    for number, uid in enumerate(study_uids, 1):
        try:
            counts[_convert_one(derivative, uid)] += 1
        except RetryableError as error:
            log.warning("study %s: try again later: %s", uid, error)
            later = str(error)
            counts["later"] += 1
        progress(number, len(study_uids))
    if later:
        raise RetryableError(f"{counts['later']} of {len(study_uids)} to try again: {later}")
    return counts


def _convert_one(derivative: Derivative, uid: str) -> str:
    context = derivative.context
    database = context.ledger.database
    with database.lock(f"bids {derivative.collection} {uid}", _WAIT_SECONDS) as ours:
        if not ours:
            raise RetryableError(f"study {uid}: another worker converts it")
        name = derivative.record_name(uid)
        if next(stored_below(context.home, f"{derivative.records}/{name}"), None):
            return "there"
        work = _work_folder(derivative, uid)
        try:
            # Until it is whole again, nothing of it is copied, or restored from a copy.
            context.ledger.data_sets.reopen(derivative.data_set)
            _remove_outdated(derivative, uid)
            if earlier := _earlier(derivative, uid, name):
                _take_over(derivative, earlier, name, work / "earlier")
                return "taken over"
            record = _make(derivative, uid, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        grid.ensure_collection(context.home, derivative.records)
        grid.put_document(context.home, f"{derivative.records}/{name}", _dump(record))
        return "refused" if record["refused"] else "converted"


def _dump(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def _work_folder(derivative: Derivative, uid: str) -> Path:
    root = derivative.context.site.outbox / ".bids"
    release = hashlib.sha256(derivative.collection.encode()).hexdigest()[:16]
    folder = place(root / release, uid)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _make(derivative: Derivative, uid: str, work: Path) -> dict[str, Any]:
    """Fetch, convert and put a study; return its record."""
    context = derivative.context
    objects = derivative.studies[uid]
    subject = objects[0].path.split("/")[-4]
    files = {one: work / "dicom" / "/".join(one.path.split("/")[-2:]) for one in objects}
    if bad := fetch_all(context.home, files).bad:
        raise RetryableError(f"study {uid}: {len(bad)} objects have no good replica at home")
    record: dict[str, Any] = {
        "study": uid,
        "subject": subject,
        "converter": f"dcm2niix {converter_version()}",
        "participant": {},
        "files": [],
        "left": {},
        "refused": "",
    }
    try:
        made = _convert_series(derivative, uid, subject, sorted(files.values()), work)
        written = list(_write(context, uid, made, work / "bids"))
    except HeldError as error:
        log.error("study %s is not converted: %s", uid, error)
        return {**record, "refused": error.detail}
    for collection in sorted({path.rsplit("/", 1)[0] for path, _, _ in written}):
        grid.ensure_collection(context.home, f"{derivative.root}/{collection}")

    def put(one: tuple[str, Path, str]) -> dict[str, Any]:
        path, file, series = one
        digest = sha256_of(file)
        put_file(context.home, f"{derivative.root}/{path}", file, digest)
        return {"path": path, "sha256": digest, "size": file.stat().st_size, "series": series}

    record["files"] = list(context.home.run_parallel(put, written, grid.CONNECTIONS))
    return {**record, "participant": made.participant, "left": made.left}


def _convert_series(
    derivative: Derivative, uid: str, subject: str, files: Sequence[Path], work: Path
) -> _Study:
    made = _Study(participant=_participant(files[0]))
    by_series: dict[str, list[Path]] = {}
    for file in files:
        by_series.setdefault(file.parent.name, []).append(file)
    found = []
    for series_uid, some in by_series.items():
        facts = facts_of(map(read_slice, some)).get(series_uid, SeriesFacts(series_uid))
        rule, why = rule_for(derivative.rules, facts)
        if rule is None:
            made.left[series_uid] = why
            continue
        images = convert(some, place(work / "series", series_uid))
        reasons = [unfit(rule, image) for image in images]
        fitting = [image for image, why in zip(images, reasons, strict=True) if not why]
        if not fitting:
            made.left[series_uid] = next(iter(reasons), "dcm2niix makes no image of it")
        found += [(series_uid, rule, image) for image in fitting]
    found.sort(key=lambda one: (_number(one[2].sidecar), one[0], one[2].mark))
    made.images = name_images(subject, uid, found)
    return made


def _number(sidecar: Mapping[str, Any]) -> int:
    number = sidecar.get("SeriesNumber")
    return number if isinstance(number, int) else 0


def _participant(file: Path) -> dict[str, str]:
    """Return what BIDS says of a participant, as far as the profile left it."""
    ds = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["PatientSex", "PatientAge"])
    age = str(ds.get("PatientAge") or "")
    told = {}
    if (sex := str(ds.get("PatientSex") or "")) in ("F", "M", "O"):
        told["sex"] = sex
    if age[:-1].isdigit() and age.endswith("Y") and int(age[:-1]) < 90:
        told["age"] = str(int(age[:-1]))
    return told


def _write(
    context: ProjectContext, uid: str, made: _Study, out: Path
) -> Iterator[tuple[str, Path, str]]:
    """Check each image; yield what is to be put: path in the data set, file, series UID."""
    identity = _identity(context, uid)
    for image in made.images:
        sidecar = clean_sidecar(image)
        check_image(image, sidecar, identity)
        file = out / f"{image.stem}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dump(sidecar))
        yield f"{image.stem}.json", file, image.series_uid
        yield f"{image.stem}.nii.gz", image.image.path, image.series_uid
        if "/dwi/" in image.stem:
            for suffix in (".bval", ".bvec"):
                if beside := image.image.beside(suffix):
                    yield f"{image.stem}{suffix}", beside, image.series_uid


def _identity(context: ProjectContext, uid: str) -> Identity:
    identity = Identity()
    for ref in context.ledger.studies.find_by_pseudonym(context.project.name, uid):
        if sealed := context.ledger.vault.sealed(ref):
            identity |= identity_of(context.vault.open(ref, sealed))
    return identity


# -- what is there already --------------------------------------------------------------------


def _text(context: ProjectContext, path: str) -> bytes:
    text = grid.get_document(context.home, path)
    if text is None:
        raise RetryableError(f"{path}: is gone; run it again")
    return text


def _read(context: ProjectContext, path: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(_text(context, path))
    return record


def _remove_outdated(derivative: Derivative, uid: str) -> None:
    """Remove what a study became by other rules or another converter."""
    home = derivative.context.home
    for name in names_with(home, derivative.records, f"{checked(uid)}."):
        path = f"{derivative.records}/{name}"
        if not name.endswith(PARTIAL):
            for file in _read(derivative.context, path)["files"]:
                grid.remove_object(home, f"{derivative.root}/{file['path']}")
        grid.remove_object(home, path)


def _earlier(derivative: Derivative, uid: str, name: str) -> str:
    """Return the data set of another version that has this study as it is here; "" for none."""
    context = derivative.context
    for row in reversed(context.ledger.releases.versions(context.project.name, derivative.name)):
        if row.version == derivative.version or row.retired_at is not None:
            continue
        root = f"{_collection(derivative, row.version)}/bids"
        if next(stored_below(context.home, f"{root}/code/conversion/{name}"), None):
            return root
    return ""


def _collection(derivative: Derivative, version: int) -> str:
    context = derivative.context
    return release_collection(context.home, context.project.name, derivative.name, version)


def _take_over(derivative: Derivative, earlier: str, name: str, work: Path) -> None:
    context = derivative.context
    record = _read(context, f"{earlier}/code/conversion/{name}")
    files = {
        StoredObject(f"{earlier}/{one['path']}", one["size"], one["sha256"]): work / str(number)
        for number, one in enumerate(record["files"])
    }
    if fetch_all(context.home, files).bad:
        raise RetryableError(f"{earlier}: has damaged files; remove it, and run this again")
    paths = [one["path"] for one in record["files"]]
    for collection in sorted({path.rsplit("/", 1)[0] for path in paths}):
        grid.ensure_collection(context.home, f"{derivative.root}/{collection}")

    def put(item: tuple[StoredObject, Path]) -> bool:
        one, file = item
        path = one.path.removeprefix(f"{earlier}/")
        return put_file(context.home, f"{derivative.root}/{path}", file, one.sha256)

    context.home.run_parallel(put, files.items(), grid.CONNECTIONS)
    grid.ensure_collection(context.home, derivative.records)
    grid.put_document(context.home, f"{derivative.records}/{name}", _dump(record))


def finish(derivative: Derivative) -> dict[str, int]:
    """Write the data set's own documents, once every study is converted, and list its files.

    Parameters
    ----------
    derivative
        What is derived.

    Returns
    -------
    dict
        How many ``studies``, ``images``, ``series_left`` and ``refused`` studies there are.

    Raises
    ------
    RetryableError
        Studies are not converted yet.
    """
    context = derivative.context
    if pending := derivative.pending():
        raise RetryableError(
            f"{len(pending)} of {len(derivative.studies)} studies are not converted yet; run the "
            "conversion again"
        )
    names = [f"{derivative.records}/{derivative.record_name(uid)}" for uid in derivative.studies]
    texts = context.home.run_parallel(lambda path: _text(context, path), names, grid.CONNECTIONS)
    records: list[dict[str, Any]] = [json.loads(text) for text in texts]
    documents = dataset_documents(
        f"{context.project.name}: {derivative.name}, version {derivative.version}",
        derivative.collection,
        records,
    )
    for name, text in documents.items():
        grid.put_document(context.home, f"{derivative.root}/{name}", text)
    below = [path.removeprefix(f"{derivative.root}/") for path in names]
    written = dict(zip(below, texts, strict=True))
    context.ledger.data_sets.set_files(
        derivative.data_set,
        [
            *(
                DataSetFile(path, hashlib.sha256(text).hexdigest(), len(text))
                for path, text in {**written, **documents}.items()
            ),
            *(
                DataSetFile(one["path"], one["sha256"], one["size"])
                for record in records
                for one in record["files"]
            ),
        ],
    )
    return {
        "studies": len(records),
        "images": sum(one["path"].endswith(".nii.gz") for r in records for one in r["files"]),
        "series_left": sum(len(record["left"]) for record in records),
        "refused": sum(bool(record["refused"]) for record in records),
    }
