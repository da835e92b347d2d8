"""What waits for a steward because of what its pixels or pages may show."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from ...errors import HeldError
from .choose import is_secondary_capture
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
# Words for the head in the languages of the sites, without diacritics; "brain" and the like too,
# since a field of view that holds it holds the face in front of it.
_HEAD = re.compile(
    r"\b(head|skull|crani\w*|brain|neuro\w*|face|facial|maxillo\w*|sinus\w*|orbit\w*|hlav\w*|"
    r"moz(e)?k\w*|lebk\w*|oblicej\w*|kopf|schadel|hirn|gesicht|tete|crane|cerveau|neurocran\w*)\b"
)
_ELSEWHERE = frozenset(
    {
        "ABDOMEN", "ANKLE", "ARM", "BLADDER", "BREAST", "CHEST", "COLON", "CSPINE", "ELBOW",
        "EXTREMITY", "FEMUR", "FOOT", "HAND", "HEART", "HIP", "KIDNEY", "KNEE", "LEG", "LIVER",
        "LSPINE", "LUNG", "PANCREAS", "PELVIS", "PROSTATE", "SHOULDER", "SPLEEN", "THIGH",
        "THORAX", "TSPINE", "UTERUS", "WRIST",
    }
)  # fmt: skip
# A surface rendered from voxels up to this size, in mm, is recognised by people and by programs.
_FINE = 2.0
# A field of view narrower than this, in mm, holds no face.
_FACE = 100.0


def refuse(ds: Any, settings: PixelSettings) -> None:
    """Hold what the profile wants held.

    Raises
    ------
    HeldError
        ``document``, ``secondary-capture``, ``photograph`` or ``face``.
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
    if "face" in settings.hold and shows_face(ds):
        raise HeldError(
            "face",
            "a head in voxels so fine that the face can be rendered; deface it, or let a profile "
            "without `face` under `hold` pass it",
        )


def shows_face(ds: Any) -> bool:
    """Tell whether an image belongs to a CT or MR volume from which a face can be rendered.

    By the header: the head by body part or description, voxels up to 2 mm and a field
    of view that a face fits into.
    """
    if str(ds.get("Modality", "")) not in _VOLUMES or not _of_head(ds):
        return False
    voxel = _voxel(ds)
    if not voxel or max(voxel) > _FINE:
        return False
    return min(int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)) * voxel[0] >= _FACE


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


def _of_head(ds: Any) -> bool:
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
    plain = unicodedata.normalize("NFKD", " ".join(words).lower().replace("_", " "))
    return bool(_HEAD.search("".join(c for c in plain if not unicodedata.combining(c))))


def _voxel(ds: Any) -> list[float]:
    """Return pixel spacing and slice distance in mm, empty where one is not known."""
    measures = ds
    for item in ds.get("SharedFunctionalGroupsSequence") or ():
        for inner in item.get("PixelMeasuresSequence") or ():
            measures = inner
    try:
        spacing = [float(value) for value in measures.PixelSpacing]
        thick = measures.get("SliceThickness")
        apart = measures.get("SpacingBetweenSlices")
        slices = [abs(float(v)) for v in (thick, apart) if v not in (None, "")]
    except (AttributeError, TypeError, ValueError):
        return []
    # Overlapping slices are as fine as their distance, not as their thickness.
    return [*spacing, min(slices)] if slices and spacing else []
