"""Defined terms, classes and schemes stay even if they are a person's name; names go."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pacsgrid.deid import check_file, load_profile
from pacsgrid.deid.check import vocabulary as theirs
from pacsgrid.deid.vocabulary import _TERMS, defined_terms
from pacsgrid.errors import HeldError
from support.deid_file import PSEUDONYMS, checked
from support.dicom import ct, save

PROFILES = ["basic", "research", "strict"]


def test_both_lists_say_the_same() -> None:
    """Each is its own; where they differ a study would be held for nothing."""
    assert len(_TERMS) > 120
    assert theirs._words() == {t: {w.encode() for w in words} for t, words in _TERMS.items()}
    assert "HAS ACQ CONTEXT" in defined_terms(0x0040A010) and "SINGLE PLANE" in defined_terms(
        0x00080008
    )


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("patient", "keyword", "value"),
    [
        ("RTDOSE^QA", "Modality", "RTDOSE"),
        ("Plan^QA", "DoseSummationType", "PLAN"),
        ("Primary^Axial", "ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"]),
        ("Static^Gated", "SeriesType", ["STATIC", "IMAGE"]),
        ("Approved^Jan", "ApprovalStatus", "APPROVED"),
        ("Chest^Phantom", "BodyPartExamined", "CHEST"),
        ("Photon^Max", "RadiationType", "PHOTON"),
        ("Gray^Gy", "DoseUnits", "GY"),
        ("Siemens^QA", "Manufacturer", "SIEMENS"),
        ("GE^Phantom", "Manufacturer", "GE MEDICAL SYSTEMS"),
        ("Standard^Al", "ConvolutionKernel", "STANDARD"),
        ("Point^Ellipse", "ContourGeometricType", "POINT"),
        ("Hu^Li", "RescaleType", "HU"),
        ("Whole^Body", "SeriesType", ["WHOLE BODY", "IMAGE"]),
        ("Decy^Attn", "CorrectedImage", ["DECY", "ATTN", "SCAT"]),
    ],
)
def test_an_attributes_own_words_stay(
    tmp_path: Path, profile: str, patient: str, keyword: str, value: str | list[str]
) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.4", patient))
    setattr(ds, keyword, value)
    made = dcmread(checked(save(ds, tmp_path / "a"), load_profile(profile)).path)
    assert made[keyword].value == value


@pytest.mark.parametrize("profile", PROFILES)
def test_a_name_beside_them_goes(tmp_path: Path, profile: str) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.4", "Axial^Kvapil"))
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "KVAPIL"]
    ds.Modality, ds.TableMotion = "CT", "AXIAL"
    made = dcmread(checked(save(ds, tmp_path / "a"), load_profile(profile)).path)
    assert made.ImageType == ["ORIGINAL", "PRIMARY", "AXIAL", ""]
    # AXIAL is no word of TableMotion, and the patient is called so.
    assert made.TableMotion == "REMOVED"


@pytest.mark.parametrize(("keyword", "value"), [("ImageType", "KVAPIL"), ("TableMotion", "AXIAL")])
def test_the_checker_finds_a_name_beside_them(tmp_path: Path, keyword: str, value: str) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.4", "Axial^Kvapil"))
    path = save(ds, tmp_path / "a")
    made = checked(path, load_profile("research")).path
    ds = dcmread(made)
    setattr(ds, keyword, ["ORIGINAL", "PRIMARY", "AXIAL", value] if value != "AXIAL" else value)
    ds.save_as(made)
    with pytest.raises(HeldError, match="identity-left"):
        check_file(path, made, load_profile("research"))


CLASSES = [
    "1.3.12.2.1107.5.9.1", "1.3.46.670589.11.0.0.12.1", "1.2.840.113619.4.26",
    "1.2.392.200036.9125.1.1.2", "1.2.392.200036.9116.7.8.1.1.1", "1.2.246.352.70.1.70",
    "1.2.276.0.48.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.999", "2.25.91827364554637281",
]  # fmt: skip


def classed(path: Path, uid: str, **changes: str) -> Path:
    ds = dcmread(ct(path, "1.2.3", "1.2.3.4", patient_id=changes.pop("patient_id", "756203/1234")))
    ds.SOPClassUID = uid
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = uid, "1.2.3.9"
    ds.ReferencedImageSequence = Sequence([reference])
    return save(ds, path)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("uid", CLASSES)
def test_private_classes_stay(tmp_path: Path, profile: str, uid: str) -> None:
    # An ID of few digits that is a part of a maker's root is chance.
    for number, patient in enumerate(("756203/1234", "1107", "5")):
        path = classed(tmp_path / f"{number}.dcm", uid, patient_id=patient)
        made = dcmread(checked(path, load_profile(profile)).path)
        assert made.SOPClassUID == made.file_meta.MediaStorageSOPClassUID == uid
        assert made.ReferencedImageSequence[0].ReferencedSOPClassUID == uid
        assert made.ReferencedImageSequence[0].ReferencedSOPInstanceUID == PSEUDONYMS.uid("1.2.3.9")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "uid",
    ["1.3.12.2.1107.7562031234", "1.2.3.756203.1234", "1.2.3.19750312", "1.2.3.1975031200",
     "1.2.3.20240102", "1.2.3.8001011234", "1.3.12.2.1107.5.9.20010101", "2.25.7562031234",
     "1.2.3.77123.1", "Kvapil", "1.2..3", "1.2.3.12031975", "1.2.3.03121975", "1.2.3.654321.1"],
)  # fmt: skip
def test_a_class_that_may_be_somebodys_does_not(tmp_path: Path, profile: str, uid: str) -> None:
    path = classed(tmp_path / "a.dcm", uid)
    ds = dcmread(path)
    ds.AccessionNumber, ds.AdmissionID = "77123", "KV-654321"
    made = dcmread(checked(save(ds, path), load_profile(profile)).path)
    new = PSEUDONYMS.uid(uid)
    assert made.SOPClassUID == made.file_meta.MediaStorageSOPClassUID == new
    assert made.ReferencedImageSequence[0].ReferencedSOPClassUID == new
    assert uid.encode() not in (tmp_path / "out").glob("*/*.dcm").__next__().read_bytes()


def test_a_class_that_is_the_studys_own_uid_is_held(tmp_path: Path) -> None:
    with pytest.raises(HeldError, match="identity-left"):
        checked(classed(tmp_path / "a.dcm", "1.2.3"), load_profile("basic"))


@pytest.mark.parametrize("uid", ["1.2.3.7562031234", "1.2.3.19750312", "1.2.3.20240102"])
def test_the_checker_finds_whose_class_it_is(tmp_path: Path, uid: str) -> None:
    path = classed(tmp_path / "a.dcm", uid)
    made = checked(path, load_profile("research")).path
    ds = dcmread(made)
    ds.ReferencedImageSequence[0].ReferencedSOPClassUID = uid
    ds.save_as(made)
    with pytest.raises(HeldError, match=r"identity-left: \(0008,1150\)"):
        check_file(path, made, load_profile("research"))


@pytest.mark.parametrize("profile", PROFILES)
def test_coding_schemes_stay(tmp_path: Path, profile: str) -> None:
    ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
    schemes = []
    for name, uid, version in (
        ("SCT", "2.16.840.1.113883.6.96", "20230131"),
        ("RADLEX", "2.16.840.1.113883.6.256", "4.1"),
        ("DCM", "1.2.840.10008.2.16.4", "01"),
        ("99MAKER", "1.3.6.1.4.1.99999.1", "2023AB"),
    ):
        item = Dataset()
        item.CodingSchemeDesignator, item.CodingSchemeUID = name, uid
        item.CodingSchemeVersion = version
        schemes.append(item)
    ds.CodingSchemeIdentificationSequence = Sequence(schemes)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "51185008", "SCT", "Chest"
    code.CodingSchemeVersion, code.ContextUID = "20230131", "1.2.840.10008.6.1.2"
    ds.AnatomicRegionSequence = Sequence([code])
    made = dcmread(checked(save(ds, tmp_path / "a.dcm"), load_profile(profile)).path)
    for was, item in zip(schemes, made.CodingSchemeIdentificationSequence, strict=True):
        if profile == "strict" and was.CodingSchemeDesignator == "99MAKER":
            was.CodingSchemeDesignator = "99PACSGRID"  # no text but of public schemes
        assert item == was
    item = made.AnatomicRegionSequence[0]
    assert (item.CodingSchemeVersion, item.ContextUID) == ("20230131", "1.2.840.10008.6.1.2")


@pytest.mark.parametrize("version", ["Kvapil", "7562031234", "viz 12.3.1975"])
def test_a_version_is_a_version(tmp_path: Path, version: str) -> None:
    ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4", "Kvapil^Jan"))
    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeVersion = "SCT", version
    ds.CodingSchemeIdentificationSequence = Sequence([item])
    made = dcmread(checked(save(ds, tmp_path / "a.dcm"), load_profile("research")).path)
    assert version not in str(made)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_scheme_may_be_called_as_the_program_that_wrote_the_file(
    tmp_path: Path, profile: str
) -> None:
    scheme = "1.3.12.2.1107.5.2"
    path = ct(tmp_path / "a", "1.2.3", "1.2.3.4")
    ds = dcmread(path)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T1", "99SMS", "Thorax"
    code.CodingSchemeUID = scheme
    ds.AnatomicRegionSequence = Sequence([code])
    ds.file_meta.ImplementationClassUID = scheme
    ds.save_as(path)
    made = dcmread(checked(path, load_profile(profile)).path)
    assert made.AnatomicRegionSequence[0].CodingSchemeUID == scheme


@pytest.mark.parametrize("profile", PROFILES)
def test_a_scheme_that_only_an_item_names_is_called_after_nobody(
    tmp_path: Path, profile: str
) -> None:
    ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
    ds.InstitutionName = "Nemocnice Trnava"
    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeUID = "99TRNAVA", "1.2.276.0.76.3.1"
    # The day of the study, which may not stay.
    item.CodingSchemeVersion = "20240102"
    ds.CodingSchemeIdentificationSequence = Sequence([item])
    made = dcmread(checked(save(ds, tmp_path / "a.dcm"), load_profile(profile)).path)
    kept = made.CodingSchemeIdentificationSequence[0]
    assert kept.CodingSchemeDesignator == "99PACSGRID"
    assert kept.CodingSchemeUID == "1.2.276.0.76.3.1"
    assert "20240102" not in str(kept)


def test_a_name_in_numbers_that_are_needed_is_told_as_such(tmp_path: Path) -> None:
    ds = dcmread(ct(tmp_path / "a.dcm", "1.2.3", "1.2.3.4"))
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for number in range(1, 4):
        ds.add_new(0x00281100 + number, "US", [256, 0, 16])
        ds.add_new(0x00281200 + number, "OW", b"Novakova Zofie  " * 32)
    path = save(ds, tmp_path / "a.dcm")
    with pytest.raises(
        HeldError,
        match=r"identity-left.*\(0028,120\d\) was removed although it is required.*a name",
    ):
        checked(path, load_profile("basic"))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "ECHO_00", "MOSAIC"]),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M", "UCA", "IF"]),
        ("ImageType", ["DERIVED", "SECONDARY", "REF_SURVIEW"]),
        ("ImageType", ["ORIGINAL", "PRIMARY", "UNSPECIFIED"]),
        ("ScanOptions", ["SAT_GEMS", "EPI_GEMS", "HYPERBAND_GEMS", "PFF"]),
        ("ScanOptions", ["NEWER_GEMS", "FS"]),
        ("ParallelAcquisitionTechnique", "SPEEDER"),
        ("ParallelAcquisitionTechnique", "GRAPPA"),
        ("CoverageOfKSpace", "ELLIPTICAL"),
        ("ExposureModulationType", "Z MODULATION"),
        ("BodyPartExamined", "CTLSPINE"),
        ("SoftwareVersions", ["5.3.0", "5.3.0.3"]),
        ("SoftwareVersions", "10.0.12.255"),
        ("ManufacturerModelName", "Ingenia Elition X"),
        ("CardiacSynchronizationTechnique", "PROSPECTIVE"),
        ("SegmentationType", "LABELMAP"),
    ],
)
def test_what_devices_write_stays(
    tmp_path: Path, profile: str, keyword: str, value: str | list[str]
) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.4", "Kvapil^Axial"))
    setattr(ds, keyword, value)
    made = dcmread(checked(save(ds, tmp_path / "a"), load_profile(profile)).path)
    if profile == "strict" and keyword in ("SoftwareVersions", "ManufacturerModelName"):
        assert not made.get(keyword)  # it drops every text
    else:
        assert made[keyword].value == value


@pytest.mark.parametrize(
    ("patient", "text", "left"),
    [
        ("Sag^Pat", "Product EPI Sag Ascending", "Product EPI Sag Ascending"),
        ("Head^Phantom", "1A TRAUMA/PLAIN HEAD DM /Head", "1A TRAUMA/PLAIN HEAD DM /Head"),
        ("PF_PAT^POS", "58PF_noPAT_noPOS_PEres100", "58PF_noPAT_noPOS_PEres100"),
        ("Head^Edith", "Edith Head T1", "*** T1"),
        ("Head^Edith", "Head E. T1", "***. T1"),
        ("Head^Edith", "Brain of Dr. Head", "Brain of Dr. ***"),
        ("Gray^Ann", "Gray knee", "*** knee"),
    ],
)
@pytest.mark.parametrize("keyword", ["SeriesDescription", "ProtocolName"])
def test_words_of_a_protocol_stay_unless_a_name_is_beside_them(
    tmp_path: Path, keyword: str, patient: str, text: str, left: str
) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.4", patient))
    setattr(ds, keyword, text)
    made = dcmread(checked(save(ds, tmp_path / "a"), load_profile("research")).path)
    assert made[keyword].value == left


@pytest.mark.parametrize(
    ("patient", "text"), [("Head^Edith", "Edith Head T1"), ("Head^Edith", "Head E. T1"),
                          ("Head^Edith", "Dr. Head"), ("Gray^Ann", "Gray knee")],
)  # fmt: skip
def test_the_checker_finds_a_name_in_a_protocol(tmp_path: Path, patient: str, text: str) -> None:
    path = save(dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.4", patient)), tmp_path / "a")
    made = checked(path, load_profile("research")).path
    ds = dcmread(made)
    ds.SeriesDescription = text
    ds.save_as(made)
    with pytest.raises(HeldError, match="identity-left"):
        check_file(path, made, load_profile("research"))


@pytest.mark.parametrize(
    ("keyword", "value", "rounded"),
    [
        ("PatientWeight", "2.4", "2.4"), ("PatientWeight", "0.85", "0.85"),
        ("PatientWeight", "12.3", "12"), ("PatientWeight", "45.36", "46"),
        ("PatientWeight", "72.5", "70"), ("PatientWeight", "100.7", "100"),
        ("PatientWeight", "0", "0"), ("PatientSize", "0.48", "0.48"),
        ("PatientSize", "1.524", "1.5"), ("PatientAge", "003Y", "003Y"),
        ("PatientAge", "008Y", "005Y"), ("PatientAge", "093Y", "090Y"),
        ("PatientAge", "007D", "007D"),
    ],
)  # fmt: skip
def test_no_characteristic_is_rounded_to_nothing(
    tmp_path: Path, keyword: str, value: str, rounded: str
) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.4"))
    setattr(ds, keyword, value)
    made = dcmread(checked(save(ds, tmp_path / "a"), load_profile("research")).path)
    assert str(made[keyword].value) == rounded


@pytest.mark.parametrize(
    ("keyword", "was", "now"),
    [("PatientWeight", "2.4", "0"), ("PatientWeight", "12", "10"), ("PatientAge", "003Y", "000Y")],
)
def test_the_checker_refuses_what_is_rounded_to_nothing(
    tmp_path: Path, keyword: str, was: str, now: str
) -> None:
    ds = dcmread(ct(tmp_path / "a", "1.2.3", "1.2.3.4"))
    setattr(ds, keyword, was)
    path = save(ds, tmp_path / "a")
    made = checked(path, load_profile("research")).path
    ds = dcmread(made)
    setattr(ds, keyword, now)
    ds.save_as(made)
    with pytest.raises(HeldError, match="value-lost"):
        check_file(path, made, load_profile("research"))
