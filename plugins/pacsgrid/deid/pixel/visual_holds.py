"""What waits for a steward because of what its pixels or pages may show."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from ...errors import HeldError
from .selection import as_list, is_secondary_capture
from .settings import PixelSettings

# Encapsulated PDF, CDA, STL, OBJ, MTL (PS3.4 B.5): documents whose pages nobody has read.
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
# Words for the head in the languages of the sites, without diacritics; "brain" and the like too,
# since a field of view that holds it holds the face in front of it. So does the whole body.
_HEAD = re.compile(
    r"\b(head|skull|crani\w*|brain|cerebr\w*|encephal\w*|neuro\w*|face|facial|maxillo\w*|sinus\w*|"
    r"orbit\w*|hlav\w*|moz(e)?k\w*|lebk\w*|oblicej\w*|kopf|schadel|hirn|gesicht|tete|crane|"
    r"cerveau|neurocran\w*|n?cct|cranio\w*|pituit\w*|hypofyz\w*|hypophys\w*|mandib\w*|celist\w*|"
    r"glow\w*|mozg\w*|whole ?body|celotelov\w*|ganzkorper\w*|wb)\b"
)
# Sequences that are made of heads, as devices and research protocols name them. Elsewhere in the
# body they are named too, but together with the part.
_HEAD_SEQUENCES = re.compile(
    r"\b(\w*mp2?rage\w*|\w*bravo|flair\w*|\w*tfl3d\w*|anat|t[12]w|t1 ?(fl3d|mpr)\w*)\b"
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
# A surface rendered from voxels up to this size, in mm, is recognised by people and by programs.
_FINE = 2.0
# What is taken for a voxel whose size is written and cannot be read: it may be this one.
_UNKNOWN = [1.0, 1.0, 1.0]
# A field of view narrower than this, in mm, holds no face.
_FACE = 100.0
# Fields of view of heads, in mm; of the trunk they are wider, of joints narrower.
_HEAD_VIEWS = (180.0, 300.0)


def check_visual_holds(ds: Any, settings: PixelSettings) -> None:
    """Hold what the profile wants held.

    Raises
    ------
    HeldError
        ``document``, ``secondary-capture``, ``photograph``, ``label`` or ``face``.
    """
    uid = str(ds.get("SOPClassUID", ""))
    if "document" in settings.hold and uid.startswith(_DOCUMENTS):
        raise HeldError("document", "an encapsulated document has to be read by a steward")
    if "secondary_capture" in settings.hold and is_secondary_capture(ds):
        raise HeldError(
            "secondary-capture",
            "a secondary capture may show anything, forms and screens too; a steward must look",
        )
    if "photograph" in settings.hold and (
        uid in _PHOTOGRAPHS or str(ds.get("Modality", "")) == "XC"
    ):
        raise HeldError("photograph", "a photograph of a patient; a steward must look")
    if "label" in settings.hold and shows_label(ds):
        raise HeldError(
            "label",
            "an image of a slide's label, or of the slide with it: printed names and barcodes; "
            "leave it out at the source, or let a profile without `label` under `hold` pass it",
        )
    if "face" in settings.hold and shows_face(ds):
        raise HeldError(
            "face",
            "a head in voxels so fine that the face can be rendered; deface it, or let a profile "
            "without `face` under `hold` pass it",
        )


def shows_label(ds: Any) -> bool:
    """Tell whether a whole slide image shows the slide's printed label (PS3.3 C.8.12.4.1.1).

    An overview does, unless SpecimenLabelInImage (0048,0010) says NO.
    """
    kinds = {str(value).strip().upper() for value in as_list(ds.get("ImageType"))[2:]}
    said = str(ds.get("SpecimenLabelInImage", "") or "").strip().upper()
    slide = str(ds.get("SOPClassUID", "")) == _WHOLE_SLIDE or str(ds.get("Modality", "")) == "SM"
    if said == "YES":
        return True
    return slide and ("LABEL" in kinds or (said != "NO" and bool(kinds & {"OVERVIEW", "MACRO"})))


def shows_face(ds: Any) -> bool:
    """Tell whether an image belongs to a CT or MR volume from which a face can be rendered.

    By the header: the head by body part, description or sequence, voxels up to 2 mm and a field
    of view that a face fits into. A fine MR volume as wide as a head counts too, where nothing
    says which part of the body it is of.
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


def visual_features(ds: Any) -> str | None:
    """Return RecognizableVisualFeatures (0028,0302), None where the header does not tell.

    Never NO unless the body part is named and is another one: the attribute promises that nobody
    can be recognised.
    """
    if shows_face(ds) or str(ds.get("SOPClassUID", "")) in _PHOTOGRAPHS:
        return "YES"
    part = str(ds.get("BodyPartExamined", "") or "").strip().upper()
    if str(ds.get("Modality", "")) in _VOLUMES and part in _ELSEWHERE and not _of_head(ds):
        return "NO"
    return None


def _of_head(ds: Any) -> bool | None:
    """Tell whether an image is of the head; None when nothing says which part it is of."""
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


def _voxel(ds: Any) -> list[float]:
    """Return pixel spacing and slice distance in mm, empty where one is not known.

    Multi-frame images have them for all frames together or for each (PS3.3 C.7.6.16.2.1); the
    frames of one volume agree.
    """
    for measures in _measures(ds):
        if measures.get("PixelSpacing") in (None, ""):
            continue
        try:
            spacing = [float(value) for value in measures.PixelSpacing]
            thick = measures.get("SliceThickness")
            apart = measures.get("SpacingBetweenSlices")
            slices = [abs(float(v)) for v in (thick, apart) if v not in (None, "")]
        except (TypeError, ValueError):
            return _UNKNOWN
        if not all(map(math.isfinite, (*spacing, *slices))):
            return _UNKNOWN
        # Overlapping slices are as fine as their distance, not as their thickness.
        if spacing and slices:
            return [*spacing, min(slices)]
    return []


def _measures(ds: Any) -> Iterator[Any]:
    yield ds
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in (ds.get(keyword) or ())[:1]:
            yield from item.get("PixelMeasuresSequence") or ()
