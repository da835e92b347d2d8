"""Select images to search for text, by modality, image type and BurnedInAnnotation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset

from .settings import PixelSettings

# Reconstructed images: only derived ones may contain text.
_RECONSTRUCTED = frozenset({"CT", "MR", "PT", "NM"})
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_RECONSTRUCTED_CLASSES = frozenset(
    f"{_STORAGE}{end}"
    for end in ("2", "2.1", "2.2", "4", "4.1", "4.2", "4.4", "20", "128", "128.1", "130")
)
# Pixels that are labels, doses or parameters, not pictures.
_NO_PICTURE = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
        "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
        "1.2.840.10008.5.1.4.1.1.66",  # Raw Data
    }
)
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def admits_text(ds: Dataset) -> bool:
    """Return whether the header says that text is burned in (PS3.3 C.7.6.1)."""
    return str(ds.get("BurnedInAnnotation", "") or "").strip().upper() == "YES"


def is_secondary_capture(ds: Dataset) -> bool:
    """Return whether the image is of a Secondary Capture SOP class (PS3.4 B.5)."""
    uid = str(ds.get("SOPClassUID", ""))
    return uid == SECONDARY_CAPTURE or uid.startswith(SECONDARY_CAPTURE + ".")


def needs_text_search(ds: Dataset, settings: PixelSettings) -> bool:
    """Return whether an image's pixels must be searched for text.

    Parameters
    ----------
    ds
        The image's header.
    settings
        The part ``pixels`` of the profile.
    """
    if settings.look == "none" or not (ds.get("Rows") and ds.get("Columns")):
        return False
    if settings.look == "all" or admits_text(ds) or is_secondary_capture(ds):
        return True
    sop_class = str(ds.get("SOPClassUID", ""))
    if sop_class in _NO_PICTURE:
        return False
    # An ultrasound image may call its modality CT; a private class says nothing.
    if sop_class.startswith(_STORAGE) and sop_class not in _RECONSTRUCTED_CLASSES:
        return True
    if str(ds.get("Modality", "")) not in _RECONSTRUCTED:
        return True
    kind = [str(value).strip().upper() for value in as_list(ds.get("ImageType"))]
    return kind[:2] != ["ORIGINAL", "PRIMARY"]


def as_list(value: str | Iterable[Any] | None) -> list[Any]:
    """Return the values of an element as a list, for any multiplicity."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)
