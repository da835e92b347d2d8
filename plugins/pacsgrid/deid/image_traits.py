"""Read what a held image has in common with others, without what identifies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom import dcmread

from ..log_suppression import pydicom_suppressed
from ..review_model import HeldImage, ImageTraits, Ruling
from .identifiers import StudyIdentifiers, collect_identifiers
from .pseudonyms import Pseudonyms
from .text_cleaner import TextCleaner
from .vocabulary import defined_terms

_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_UID = re.compile(r"[0-9.]{1,64}")
_TEXTS = {
    "manufacturer": ("Manufacturer", 0x00080070),
    "model": ("ManufacturerModelName", 0x00081090),
    "description": ("SeriesDescription", 0x0008103E),
}
_NO_TEXTS: dict[str, Any] = dict.fromkeys(_TEXTS, "")
_KEYWORDS = [
    *(keyword for keyword, _ in _TEXTS.values()),
    *("SpecificCharacterSet", "Modality", "SOPClassUID", "SeriesInstanceUID"),
    *("Rows", "Columns", "NumberOfFrames"),
]


def read_image(path: Path, pseudonyms: Pseudonyms) -> HeldImage:
    """Read the traits of a file, which may be broken or no DICOM file.

    Parameters
    ----------
    path
        The file.
    pseudonyms
        The project's pseudonym space.

    Returns
    -------
    HeldImage
        Empty where the header cannot be read.
    """
    try:
        with pydicom_suppressed():
            ds = _read(path)
            return _of_header(ds, pseudonyms, collect_identifiers([path]))
    except Exception:  # what is wrong with the file is why it is held
        return HeldImage()


def matching_rules(
    path: Path, rules: Sequence[Ruling], pseudonyms: Pseudonyms
) -> tuple[Ruling, ...]:
    """Return the rules whose traits a file has; none where its header cannot be read.

    Parameters
    ----------
    path
        The file.
    rules
        The project's rules.
    pseudonyms
        The project's pseudonym space.
    """
    try:
        with pydicom_suppressed():
            ds = _read(path)
            image = _coded(ds)
            near = [rule for rule in rules if replace(rule.traits, **_NO_TEXTS).matches(image)]
            if not near:  # most files, of which no text has to be judged
                return ()
            traits = _of_header(ds, pseudonyms, collect_identifiers([path])).traits
    except Exception:  # the anonymiser tells what is wrong with it
        return ()
    return tuple(rule for rule in near if rule.traits.matches(traits))


def _read(path: Path) -> Any:
    return dcmread(path, stop_before_pixels=True, specific_tags=_KEYWORDS)


def _coded(ds: Any) -> ImageTraits:
    """Return the traits that are no texts."""
    modality, sop_class = _text(ds, "Modality"), _text(ds, "SOPClassUID")
    rows, columns = (max(0, int(ds.get(name) or 0)) for name in ("Rows", "Columns"))
    return ImageTraits(
        modality=modality if _CODE.fullmatch(modality) else "",
        sop_class=sop_class if _UID.fullmatch(sop_class) else "",
        rows=rows,
        columns=columns,
    )


def _of_header(ds: Any, pseudonyms: Pseudonyms, known: StudyIdentifiers) -> HeldImage:
    cleaner = TextCleaner(known, pseudonyms, None)
    texts: dict[str, Any] = {
        name: _harmless(_text(ds, keyword), tag, cleaner) for name, (keyword, tag) in _TEXTS.items()
    }
    traits = replace(_coded(ds), **texts)
    series = _text(ds, "SeriesInstanceUID")
    frames = int(ds.get("NumberOfFrames") or 1) if traits.rows and traits.columns else 0
    return HeldImage(traits, pseudonyms.uid(series) if series else "", frames)


def _text(ds: Any, keyword: str) -> str:
    return " ".join(str(ds.get(keyword, "") or "").split())


def _harmless(text: str, tag: int, cleaner: TextCleaner) -> str:
    """Return a text as it is if the anonymiser would let it stay, otherwise its hash."""
    if not text:
        return ""
    stays = cleaner.clean(text, "LO", defined_terms(tag)) == text and not text.startswith("#")
    return text if stays else "#" + cleaner.pseudonyms.code(f"{tag:08X}", text)[1:]
