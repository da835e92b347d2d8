"""Send a result back to the hospital, under the patient's own identifiers.

The vault holds the study's and the patient's identifiers only. The UIDs of series and instances
come from the study at its source: each original UID has one pseudonym, so the way back is a table
of what the source has. Everything identified is in the private staging folder, and only until the
result was sent.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import requests
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context

from pacsgrid import grid
from pacsgrid.config.returns import ReturnSection
from pacsgrid.config.secrets import read_key
from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.pynetdicom_requestor import open_association
from pacsgrid.dimse.tls import client_tls
from pacsgrid.errors import ConfigError, RetryableError, SourceError, ZoneError
from pacsgrid.ledger import InstanceRecord
from pacsgrid.ledger.results import ResultRecord
from pacsgrid.model import StudyState
from pacsgrid.pacs import query_check
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.disclosures import note_disclosure

log = logging.getLogger(__name__)

_SHORTEST_REASON = 10
_SECONDS = 120.0
# What the study and its patient are called (PS3.3 C.7.1, C.7.2), copied from the source.
_COPIED = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime",
    "PatientSex", "OtherPatientIDsSequence", "PatientAge", "PatientSize", "PatientWeight",
    "StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyID",
    "StudyDescription", "ReferringPhysicianName",
)  # fmt: skip
# What only an anonymised instance has (PS3.3 C.7.1.1, C.7.1.3, C.12.1).
_REMOVED = (
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified", "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
)  # fmt: skip


def return_result(
    context: ProjectContext, ref: str, destination: str, who: str, reason: str, source: str = ""
) -> int:
    """Send a result back under the original UIDs and patient.

    Who and why is on record before anything is opened.

    Parameters
    ----------
    context
        The project.
    ref
        The result's reference.
    destination
        An entry of the site file's `returns`.
    who
        The authorised person.
    reason
        Why, in at least ten characters.
    source
        The source to ask for the study; by default the one that it came from.

    Returns
    -------
    int
        How many objects were sent.

    Raises
    ------
    ConfigError
        Somebody or something is not named, or the result is not verified.
    SourceError
        The source refused, or lacks what the result refers to.
    SourceUnavailableError, ZoneError, ZoneUnavailableError, RetryableError
        Source, zone or destination does not answer, or the zone refused.
    """
    who, reason = who.strip(), reason.strip()
    if not who or len(reason) < _SHORTEST_REASON:
        raise ConfigError(
            f"say who asks, and why in at least {_SHORTEST_REASON} characters: both are recorded"
        )
    target = context.site.returns.get(destination)
    if target is None:
        known = ", ".join(sorted(context.site.returns)) or "none"
        raise ConfigError(f"returns of the site file has no {destination!r}; it has: {known}")
    result, rows = _verified(context, ref)
    what = f"returned to {destination}"
    # The version that it was made of may be superseded, and its identity gone.
    study_ref = context.ledger.versions.current_of(result.study_ref)
    context.ledger.audit.add_access(who, study_ref, what, reason)
    note_disclosure(context, who, "return", f"{destination}: result {result.name}", rows)
    identity = context.vault.open(study_ref, context.ledger.vault.sealed(study_ref))
    with _private_folder(context, ref) as folder:
        study = query_check.study_from_identity(identity)
        context.source(source or identity["source"]).retrieve(study, folder)
        header, originals = _originals(context, folder)
        files = [
            _restore(context, row, header, originals, folder / f"{number}.result")
            for number, row in enumerate(rows)
        ]
        _send(target, destination, files)
    log.info("%s: %d objects returned to %s", ref, len(rows), destination)
    return len(rows)


def _verified(context: ProjectContext, ref: str) -> tuple[ResultRecord, Sequence[InstanceRecord]]:
    result = context.ledger.results.get(ref)
    if result is None or result.project != context.project.name:
        raise ConfigError(f"project {context.project.name} has no result {ref}")
    if context.ledger.studies.state(ref) is not StudyState.VERIFIED:
        raise ConfigError(f"{ref}: the result is not verified yet, or withdrawn")
    return result, context.ledger.instances.of_study(ref)


@contextmanager
def _private_folder(context: ProjectContext, ref: str) -> Iterator[Path]:
    # A name of its own: the work folders of the study or the result may be in use.
    folder = context.folders(ref).staging.with_name(f".return-{secrets.token_hex(8)}")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _originals(context: ProjectContext, folder: Path) -> tuple[Dataset, Mapping[str, str]]:
    """Return a header of the study, and each original UID in its headers by its pseudonym."""
    header: Dataset | None = None
    originals: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        try:
            ds = _read(path)
        except Exception:  # pydicom raises any type of exception for malformed files
            continue
        header = header or ds
        for uid in _uids(ds):
            originals[context.pseudonyms.uid(uid)] = uid
    if header is None:
        raise SourceError(
            "the source has no instance of the study any more; name another source that has it",
        )
    return header, originals


def _read(source: Path | BytesIO, pixels: bool = False) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values
        return dcmread(source, stop_before_pixels=not pixels)


def _uids(ds: Dataset) -> Iterator[str]:
    for element in ds.iterall():
        if element.VR == "UI" and element.value:
            values = [element.value] if isinstance(element.value, str) else element.value
            yield from map(str, values)


def _restore(
    context: ProjectContext,
    row: InstanceRecord,
    header: Dataset,
    originals: Mapping[str, str],
    to: Path,
) -> Path:
    """Write an object with the original UIDs and patient."""
    path = grid.object_path(context.home.settings.name, context.project.name, row)
    data = grid.get_head(context.home, path, row.size)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise ZoneError(f"{path}: the replica that was read is damaged; verify the project")
    ds = _read(BytesIO(data), pixels=True)
    left = [uid for uid in set(_uids(ds)) if uid not in originals and uid != row.sop_uid]
    lost = context.ledger.results.issued(context.project.name, left) - _own(context, row)
    if lost:
        raise SourceError(
            f"the source lacks {len(lost)} series or instances that the result refers to",
        )
    for element in ds.iterall():
        if element.VR == "UI" and element.value:
            one = isinstance(element.value, str)
            values = [element.value] if one else list(element.value)
            new = [originals.get(str(value), str(value)) for value in values]
            element.value = new[0] if one else new
    for keyword in (*_REMOVED, *_COPIED):
        if keyword in ds:
            del ds[keyword]
    for keyword in _COPIED:
        if keyword in header:
            ds[keyword] = header[keyword]
    ds.SpecificCharacterSet = "ISO_IR 192"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmwrite(to, ds, enforce_file_format=True)
    return to


def _own(context: ProjectContext, row: InstanceRecord) -> set[str]:
    """Return the UIDs of the study's results: they are their authors', and stay."""
    found: set[str] = set()
    for result in context.ledger.results.of_project(context.project.name, row.study_uid):
        for one in context.ledger.instances.of_study(result.ref):
            found |= {one.series_uid, one.sop_uid}
    return found


def _send(target: ReturnSection, name: str, files: Sequence[Path]) -> None:
    if target.url:
        _stow(target, name, files)
    else:
        _store(target, name, files)


def _store(target: ReturnSection, name: str, files: Sequence[Path]) -> None:
    """Send files by C-STORE; raise RetryableError unless all are stored."""
    kinds = set()
    for path in files:
        meta = _read(path).file_meta
        kinds.add((str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)))
    tls = (target.ca_file, target.cert_file, target.key_file)
    settings = AssociationSettings(
        target.host,
        target.port,
        target.ae_title,
        target.calling_ae_title,
        client_tls(f"returns.{name}", *tls) if target.tls else None,
    )
    contexts = [build_context(*kind) for kind in sorted(kinds)]
    with open_association(settings, contexts) as association:
        if not association.is_established:
            raise RetryableError(f"returns.{name}: no association; is it running, does it know us?")
        for path in files:
            try:
                answer = association.send_c_store(path)
            except ValueError:  # no context was accepted for it
                raise ConfigError(f"returns.{name}: does not take a SOP class of this") from None
            code = answer.get("Status")
            if code is None or (code and code & 0xF000 != 0xB000):
                told = "nothing" if code is None else f"status {code:04X}"
                raise RetryableError(f"returns.{name}: answered {told} to an object")


def _stow(target: ReturnSection, name: str, files: Sequence[Path]) -> None:
    """Send files by STOW-RS (PS3.18 10.5); raise RetryableError unless all are stored."""
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()

    def body() -> Iterator[bytes]:
        for path in files:
            yield head
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    yield piece
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    headers = {
        "Accept": "application/dicom+json",
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
    }
    if target.token_file:
        token = read_key(f"returns.{name}.token_file", target.token_file).decode().strip()
        headers["Authorization"] = f"Bearer {token}"
    certificate = (str(target.cert_file), str(target.key_file)) if target.cert_file else None
    try:
        answer = requests.post(
            f"{target.url.rstrip('/')}/studies",
            data=body(),
            headers=headers,
            timeout=_SECONDS,
            verify=str(target.ca_file) if target.ca_file else True,
            cert=certificate,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise RetryableError(f"returns.{name}: {type(error).__name__}") from None
    if answer.status_code != 200:
        raise RetryableError(f"returns.{name}: answered HTTP status {answer.status_code}")
