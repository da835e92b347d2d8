"""Audit messages of the DICOM audit trail profile (PS3.15 A.5), made of the ledger's record."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from pacsgrid.config import AuditSettings
from pacsgrid.ledger.disclosures import DisclosureRecord

# Event IDs and role IDs (PS3.16 CID 400 and 402).
_TRANSFERRED = ("110104", "DICOM Instances Transferred")
_EXPORT = ("110106", "Export")
_SOURCE, _DESTINATION = ("110153", "Source Role ID"), ("110152", "Destination Role ID")
_STUDY_ID = ("110180", "Study Instance UID")
_PATIENT_ID = ("2", "Patient Number")
_MEDIA_URI = ("110037", "URI")
_WEB_SERVER, _APPLICATION_SERVER = "3", "4"
_IP_ADDRESS = "2"


def audit_message(record: DisclosureRecord, settings: AuditSettings) -> bytes:
    """Return the message about a disclosure.

    Parameters
    ----------
    record
        The ledger's record.
    settings
        The site's section `audit`.

    Returns
    -------
    bytes
        XML in UTF-8 that follows the schema of PS3.15 A.5.1.
    """
    what = record.what
    export = what.way == "ticket"
    message = Element("AuditMessage")
    event = SubElement(
        message,
        "EventIdentification",
        EventActionCode="R",
        EventDateTime=record.at.isoformat(timespec="milliseconds"),
        EventOutcomeIndicator="0",
    )
    _code(event, "EventID", *(_EXPORT if export else _TRANSFERRED))
    if what.detail:
        SubElement(event, "EventOutcomeDescription").text = f"{what.way}: {what.detail}"
    ours = SubElement(message, "ActiveParticipant", UserID=settings.source, UserIsRequestor="false")
    _code(ours, "RoleIDCode", *_SOURCE)
    theirs = SubElement(message, "ActiveParticipant", UserID=what.who, UserIsRequestor="true")
    if what.address:
        theirs.set("NetworkAccessPointID", what.address)
        theirs.set("NetworkAccessPointTypeCode", _IP_ADDRESS)
    _code(theirs, "RoleIDCode", *_DESTINATION)
    if export:
        _code(SubElement(theirs, "MediaIdentifier"), "MediaType", *_MEDIA_URI)
    source = SubElement(message, "AuditSourceIdentification", AuditSourceID=settings.source)
    if settings.enterprise_site:
        source.set("AuditEnterpriseSiteID", settings.enterprise_site)
    kind = _WEB_SERVER if what.way in ("DICOMweb", "page") else _APPLICATION_SERVER
    SubElement(source, "AuditSourceTypeCode", {"csd-code": kind})
    if what.study_uid:
        _study(message, record)
    if what.subject:
        patient = _object(message, what.subject, "1", "1")
        _code(patient, "ParticipantObjectIDTypeCode", *_PATIENT_ID, system="RFC-3881")
    return bytes(tostring(message, encoding="utf-8", xml_declaration=True))


def _study(message: Element, record: DisclosureRecord) -> None:
    what = record.what
    study = _object(message, what.study_uid, "2", "3")
    _code(study, "ParticipantObjectIDTypeCode", *_STUDY_ID)
    told = SubElement(study, "ParticipantObjectDescription")
    for uid, number in sorted(what.classes.items()):
        SubElement(told, "SOPClass", UID=uid, NumberOfInstances=str(number))
    contains = SubElement(told, "ParticipantObjectContainsStudy")
    SubElement(contains, "StudyIDs", UID=what.study_uid)
    SubElement(told, "Anonymized").text = "true" if what.way != "return" else "false"


def _object(message: Element, identifier: str, kind: str, role: str) -> Element:
    return SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=identifier,
        ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )


def _code(parent: Element, name: str, code: str, meaning: str, system: str = "DCM") -> None:
    SubElement(parent, name, {"csd-code": code, "codeSystemName": system, "originalText": meaning})
