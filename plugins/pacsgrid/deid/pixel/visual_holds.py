"""Hold instances for a steward because of what their pixels or pages may show."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Any

from pydicom.dataset import Dataset

from ...errors import HeldError
from .selection import as_list, is_secondary_capture
from .settings import PixelSettings

# Encapsulated PDF, CDA, STL, OBJ, MTL (PS3.4 B.5), whose content is not searched.
_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."
_PHOTOGRAPHS = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic
        "1.2.840.10008.5.1.4.1.1.77.1.4.1",  # Video Photographic
        "1.2.840.10008.5.1.4.1.1.77.1.7",  # Dermoscopic Photography
    }
)
_VOLUMES = frozenset({"CT", "MR"})
# Whole slide images of the slide's printed label, or of the slide with it (PS3.3 C.8.12.4.1.1).
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
# Words for the head in the languages of the sites, without diacritics. Words for the brain and
# the whole body are included, since such a field of view includes the face.
_HEAD = re.compile(
    r"\b(head|skull|crani\w*|brain|cerebr\w*|encephal\w*|neuro\w*|face|facial|maxillo\w*|sinus\w*|"
    r"orbit\w*|hlav\w*|moz(e)?k\w*|lebk\w*|oblicej\w*|kopf|schadel|hirn|gesicht|tete|crane|"
    r"cerveau|neurocran\w*|n?cct|cranio\w*|pituit\w*|hypofyz\w*|hypophys\w*|mandib\w*|celist\w*|"
    r"glow\w*|mozg\w*|whole ?body|celotelov\w*|ganzkorper\w*|wb)\b"
)
# Names of MR sequences that are used for heads. For other parts of the body the part is named too,
# and decides.
_HEAD_SEQUENCES = re.compile(
    r"\b(\w*mp2?rage\w*|\w*bravo|flair\w*|\w*tfl\w*|anat|t[12]w|t1 ?(fl3d|mpr)\w*|"
    r"\w*(ir)?fspgr\w*|t[12] ?(space|cube|vista)\w*)\b"
)
_ELSEWHERE = frozenset(
    {
        "ABDOMEN", "ANKLE", "ARM", "BLADDER", "BREAST", "CHEST", "COLON", "CSPINE", "ELBOW",
        "EXTREMITY", "FEMUR", "FOOT", "HAND", "HEART", "HIP", "KIDNEY", "KNEE", "LEG", "LIVER",
        "LSPINE", "LUNG", "PANCREAS", "PELVIS", "PROSTATE", "SHOULDER", "SPLEEN", "THIGH",
        "THORAX", "TSPINE", "UTERUS", "WRIST",
    }
)  # fmt: skip
_ELSEWHERE_WORDS = re.compile(
    r"\b(abd\w*|ankle|arm|bladder|breast|chest|colon\w*|spine|elbow|extrem\w*|femur|foot|hand|heart|"
    r"hip|kidney\w*|knee|leg|liver|lung\w*|pancrea\w*|pelvi\w*|prostat\w*|shoulder|spleen|thigh|"
    r"thora\w*|uter\w*|wrist|renal|mamm\w*|cardi\w*|coron\w*|bowel|rectum|"
    r"bric\w*|hrud\w*|plic\w*|srd\w*|jat(ra|er)\w*|ledvin\w*|panev\w*|pater\w*|kolen\w*|kyc\w*|ramen\w*|"
    r"zapest\w*|kotnik\w*|lok(et|t)\w*|prs\w*|"
    r"bauch|becken|herz|leber|lunge|niere|knie|hufte|schulter|wirbel\w*|brust)\b"
)
# A face rendered from voxels up to this size, in mm, can be recognised.
_FINE = 2.0
# Assumed voxel size in mm where the header's cannot be read, to be on the safe side.
_UNKNOWN = [1.0, 1.0, 1.0]
# A narrower field of view, in mm, does not include a face.
_FACE = 100.0
# Fields of view of heads, in mm; those of the trunk are wider, those of joints narrower.
_HEAD_VIEWS = (180.0, 300.0)


def check_visual_holds(
    ds: Dataset, settings: PixelSettings, overruled: Collection[str] = ()
) -> None:
    """Hold an instance of a kind that the profile lists under ``pixels.hold``.

    Parameters
    ----------
    ds
        The instance's header.
    settings
        The part ``pixels`` of the profile.
    overruled
        Codes that a steward has overruled for this instance.

    Raises
    ------
    HeldError
        ``document``, ``secondary-capture``, ``photograph``, ``label`` or ``face``.
    """
    uid = str(ds.get("SOPClassUID", ""))
    held = {kind for kind in settings.hold if kind.replace("_", "-") not in overruled}
    if "document" in held and uid.startswith(_DOCUMENTS):
        raise HeldError(
            "document",
            "an encapsulated document may contain anything; have a steward read it, or leave it "
            "out at the source",
        )
    if "secondary_capture" in held and is_secondary_capture(ds):
        raise HeldError(
            "secondary-capture",
            "a secondary capture may show forms or screens with names; have a steward review it, "
            "or leave it out at the source",
        )
    if "photograph" in held and (uid in _PHOTOGRAPHS or str(ds.get("Modality", "")) == "XC"):
        raise HeldError(
            "photograph",
            "a photograph may show the patient's face; have a steward review it, or leave it out "
            "at the source",
        )
    if "label" in held and shows_label(ds):
        raise HeldError(
            "label",
            "the image shows a slide's label, which may carry a printed name or barcode; leave it "
            "out at the source, or remove `label` from `pixels.hold` in the profile to let it pass",
        )
    if "face" in held and shows_face(ds):
        raise HeldError(
            "face",
            "the face can be rendered from this volume of a head, as its voxels are small; deface "
            "it at the source, write `faces: remove` in the profile to remove faces, or remove "
            "`face` from `pixels.hold` to let it pass",
        )


def shows_label(ds: Dataset) -> bool:
    """Return whether a whole slide image shows the slide's printed label (PS3.3 C.8.12.4.1.1).

    An overview does, unless SpecimenLabelInImage (0048,0010) is NO.
    """
    kinds = {str(value).strip().upper() for value in as_list(ds.get("ImageType"))[2:]}
    said = str(ds.get("SpecimenLabelInImage", "") or "").strip().upper()
    slide = str(ds.get("SOPClassUID", "")) == _WHOLE_SLIDE or str(ds.get("Modality", "")) == "SM"
    if said == "YES":
        return True
    return slide and ("LABEL" in kinds or (said != "NO" and bool(kinds & {"OVERVIEW", "MACRO"})))


def shows_face(ds: Dataset) -> bool:
    """Return whether an image belongs to a CT or MR volume from which a face can be rendered.

    The header decides: the body part, a description or the sequence names the head, the voxels
    measure 2 mm at most, and the field of view is wide enough for a face. A 3D MR volume that
    names no body part counts if its field of view is that of a head.
    """
    if str(ds.get("Modality", "")) not in _VOLUMES:
        return False
    named = _of_head(ds)
    if named is False:
        return False
    voxel = _voxel(ds)
    if not voxel or max(voxel) > _FINE:
        return False
    view = min(int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)) * voxel[0]
    if named:
        return view >= _FACE
    volume = str(ds.get("MRAcquisitionType", "")).strip().upper() == "3D"
    return volume and _HEAD_VIEWS[0] <= view <= _HEAD_VIEWS[1]


def visual_features(ds: Dataset) -> str | None:
    """Return RecognizableVisualFeatures (0028,0302), or None if the header does not tell.

    NO promises that nobody can be recognised, so it requires that the header names a body part
    other than the head.
    """
    if shows_face(ds) or str(ds.get("SOPClassUID", "")) in _PHOTOGRAPHS:
        return "YES"
    part = str(ds.get("BodyPartExamined", "") or "").strip().upper()
    if str(ds.get("Modality", "")) in _VOLUMES and part in _ELSEWHERE and not _of_head(ds):
        return "NO"
    return None


def _of_head(ds: Dataset) -> bool | None:
    """Return whether an image is of the head, or None if the header names no body part."""
    words = [
        str(ds.get(keyword, "") or "")
        for keyword in (
            "BodyPartExamined",
            "StudyDescription",
            "SeriesDescription",
            "ProtocolName",
            "RequestedProcedureDescription",
        )
    ]
    for item in ds.get("AnatomicRegionSequence") or ():
        words.append(str(item.get("CodeMeaning", "") or ""))
    text = _plain(words)
    if _HEAD.search(text):
        return True
    if _ELSEWHERE_WORDS.search(text) or str(ds.get("BodyPartExamined", "")).strip() in _ELSEWHERE:
        return False
    if str(ds.get("Modality", "")) != "MR":
        return None
    sequences = [
        str(ds.get(keyword, "") or "") for keyword in ("SequenceName", "PulseSequenceName")
    ]
    return True if _HEAD_SEQUENCES.search(_plain([text, *sequences])) else None


def _plain(words: list[str]) -> str:
    text = unicodedata.normalize(
        "NFKD", " ".join(words).lower().replace("_", " ").replace("ł", "l")
    )
    return "".join(c for c in text if not unicodedata.combining(c))


def _voxel(ds: Dataset) -> list[float]:
    """Return pixel spacing and slice distance in mm, empty if one is unknown.

    Multi-frame images have them once or per frame (PS3.3 C.7.6.16.2.1). The first frame that has
    them is used, since the frames of one volume agree.
    """
    for measures in _measures(ds):
        if measures.get("PixelSpacing") in (None, ""):
            continue
        try:
            spacing = [float(value) for value in measures.PixelSpacing]
            thick = measures.get("SliceThickness")
            apart = measures.get("SpacingBetweenSlices")
            slices = [abs(float(v)) for v in (thick, apart) if v not in (None, "")]
            slices = slices or _frame_distance(ds)
        except (TypeError, ValueError):
            return _UNKNOWN
        if not all(map(math.isfinite, (*spacing, *slices))):
            return _UNKNOWN
        # For overlapping slices the distance counts, not the thickness.
        if spacing and slices:
            return [*spacing, min(slices)]
    return []


def _frame_distance(ds: Dataset) -> list[float]:
    """Return the distance of the first two frames in mm, empty if they have no positions."""
    frames = [
        position.get("ImagePositionPatient")
        for frame in (ds.get("PerFrameFunctionalGroupsSequence") or ())[:2]
        for position in frame.get("PlanePositionSequence") or ()
    ]
    if len(frames) != 2 or not all(frames):
        return []
    return [math.dist(*([float(value) for value in place] for place in frames))]


def _measures(ds: Dataset) -> Iterator[Any]:
    yield ds
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in ds.get(keyword) or ():
            yield from item.get("PixelMeasuresSequence") or ()
