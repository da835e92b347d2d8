"""Carry out the profile's actions on the elements of a dataset, at any depth (PS3.15 Annex E).

`rules` says which action an element gets; this module knows how to remove, replace, clean or keep
a value of each VR.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import VR

from ..errors import HeldError
from ..uids import is_uid
from .acquisition import clean_value, elements
from .attribute_types import attribute_type
from .binary_identity import holds_identity
from .characteristics import bin_measured_age, bin_value
from .code_sequences import clean_code
from .codestream.nested_pixels import clean_nested_pixels
from .content_items import CODE_VALUE, CONTENT_SEQUENCES, MEASURED_VALUE, VALUE_ATTRIBUTES
from .date_shift import shift_date
from .identifiers import StudyIdentifiers
from .native_pixels import size_unknown_error
from .patient import patient_key
from .pixel_location import pixel_layout
from .private_elements import SafeElement, safe_elements
from .profile import Profile
from .pseudonyms import Pseudonyms
from .rules import TEXT, TIMES, action_for, content_actions
from .text_cleaner import TextCleaner
from .truncation import PIXEL_DATA_TAGS
from .value_repair import repair_numbers, repair_value, write_numbers
from .vocabulary import (
    STANDARD_UIDS,
    defined_terms,
    holds_class_uids,
    holds_versions,
    is_code_string,
    is_defined_term,
    is_device_code,
    is_public_class_uid,
    is_term,
)

_DUMMY_VALUES: dict[str, Any] = {
    "AE": "REMOVED", "AS": "000Y", "CS": "REMOVED", "DA": "19000101", "DS": "0", "DT": "19000101",
    "IS": "0", "LO": "REMOVED", "LT": "REMOVED", "PN": "REMOVED", "SH": "REMOVED",
    "ST": "REMOVED", "TM": "000000", "UC": "REMOVED", "UT": "REMOVED", "UR": "urn:removed",
    "FL": 0.0, "FD": 0.0, "SL": 0, "SS": 0, "UL": 0, "US": 0, "SV": 0, "UV": 0,
    "OB": b"\0\0", "OW": b"\0\0", "UN": b"",
}  # fmt: skip
_NUMBERS = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_DATES = re.compile(r"(\d{8})?-(\d{8})?", re.ASCII)
_CS = re.compile(r"[A-Z0-9_ ]{0,16}")
# A whole number with fewer digits is a count or a position, not somebody's identifier.
MIN_IDENTIFIER_DIGITS = 6
# Graphic Layer (0070,0002): a name given by a user, by which annotations refer to the layer.
_LAYER = 0x00700002
_LAYER_NAME = re.compile(r"LAYER[ _]?\d{0,3}|\d{1,3}")
_WORDS = re.compile(r"[^\W\d]+([ _-][^\W\d]+)*")
# Registry, external ID, name and responsible organisation of a coding scheme (PS3.3 C.12.1).
_SCHEME_NAMES = frozenset({0x00080112, 0x00080114, 0x00080115, 0x00080116})
_CHARACTER_SET, _ACCESSION = 0x00080005, 0x00080050
_PATIENT_NAME, _PATIENT_ID, _AGE = 0x00100010, 0x00100020, 0x00101010
# Bytes of one value. A length that is no multiple of it cannot be read back.
_WIDTH = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "SV": 8, "UV": 8}
_VRS = frozenset({vr.value for vr in VR if " or " not in vr.value})
# In longer binary values a word of five letters occurs by chance; shorter ones hold no text.
_SEARCHED, _FEW = 1 << 16, 8
_READABLE = re.compile(r"[^\W_][\w .^,/@+-]{4,}")
# Cleaned by `clean_code`, together with the item that they belong to.
_CODE = frozenset({0x00080100, 0x00080102, 0x00080104})


@dataclass(frozen=True)
class ActionContext:
    """What the actions on the elements of one instance have in common.

    Parameters
    ----------
    pseudonyms
        The project's pseudonym space.
    profile
        What is removed, replaced and kept.
    identifiers
        What identifies in the headers of the study.
    patient_id
        What the subject's pseudonym is derived from (`patient_key`).
    shift_days
        The patient's date shift in whole days.
    sop_class
        SOP Class UID of the instance.
    """

    pseudonyms: Pseudonyms
    profile: Profile
    identifiers: StudyIdentifiers
    patient_id: str
    shift_days: int
    sop_class: str = ""
    cleaner: TextCleaner = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the cleaner of texts."""
        options = self.profile.options
        if "device" in options:
            object.__setattr__(self, "identifiers", self.identifiers.without_devices)
        days = self.shift_days if "modified" in options else 0 if "full" in options else None
        object.__setattr__(
            self,
            "cleaner",
            TextCleaner(self.identifiers, self.pseudonyms, days, "uids" in options),
        )

    def replace_uid(self, uid: str) -> str:
        """Return the replacement for the UID of an instance.

        UIDs of the standard stay, and all others if the profile retains UIDs. A value that is no
        valid UID is always replaced: it may be a name. So is a UID made of a birth date or an
        identifier.
        """
        if uid in STANDARD_UIDS or ("uids" in self.profile.options and self.is_harmless_uid(uid)):
            return uid
        return self.pseudonyms.uid(uid)

    def replace_object_uid(self, uid: str) -> str:
        """Return the replacement for the UID of an instance, or of its series, by which it is told.

        Raises
        ------
        HeldError
            ``own-pseudonym``: the project issued it. The object came out of the grid, or pretends
            to be part of a series that did.
        """
        if self.pseudonyms.is_issued(uid):
            raise HeldError(
                "own-pseudonym",
                "SOPInstanceUID (0008,0018) or SeriesInstanceUID (0020,000E) of this file is a "
                "pseudonym of this project: it came out of the grid, where it is deposited; "
                "reject it, or give an object of your own a series UID of its own",
            )
        return self.replace_uid(uid)

    def is_harmless_uid(self, uid: str) -> bool:
        """Return whether a UID is valid, and not made of what identifies the patient."""
        return is_uid(uid) and not self.identifiers.occur_in_uid(uid)

    def replace_class_uid(self, uid: str) -> str:
        """Return the replacement for the UID of a class or scheme; a maker's stays (PS3.5 9.2)."""
        if uid in STANDARD_UIDS or is_public_class_uid(uid, self.identifiers):
            return uid
        return self.pseudonyms.uid(uid)

    def is_local_scheme(self, scheme: str) -> bool:
        """Return whether a coding scheme is named after an institution that must go."""
        return "institution" not in self.profile.options and (
            self.identifiers.institution_names.occur_in(scheme)
        )

    def clean_text(self, tag: int, text: str, vr: str) -> str:
        """Clean the text of an attribute that Table E.1-1 does not list.

        Parameters
        ----------
        tag
            The attribute; 0 for a text without one of its own.
        text
            Its value.
        vr
            Its VR.

        Returns
        -------
        str
            Empty when the text may not stay.
        """
        if tag in _SCHEME_NAMES and self.is_local_scheme(text):
            return ""
        mode = self.profile.text
        if is_defined_term(tag, text):
            return text
        if is_term(tag, text):
            # A coding scheme's version may be a date, and so may be a day of the study.
            dated = text.strip(" \0") in self.identifiers.known_days
            return "" if dated or self.identifiers.occur_in(text) else text
        if mode == "drop" or (mode == "harmless" and vr in ("ST", "LT", "UT")):
            return ""
        if vr == "UR":
            return ""  # in whatever form, it is the address of somebody's system
        cleaned = self.clean_descriptor(tag, text, vr)
        return cleaned if mode == "clean" or cleaned == text else ""

    def clean_descriptor(self, tag: int, text: str, vr: str) -> str:
        """Remove what identifies from a text, except words of the attribute's own vocabulary.

        Parameters
        ----------
        tag
            The attribute; 0 for a text without one of its own.
        text
            Its value.
        vr
            Its VR.

        Returns
        -------
        str
        """
        return self.cleaner.clean(text, vr, defined_terms(tag), holds_versions(tag))


def clean_dataset(
    ds: Dataset, context: ActionContext, sequence: str = "", strict: bool = False
) -> None:
    """Apply the profile to every element of a dataset, in place, nested ones included.

    Parameters
    ----------
    ds
        The dataset.
    context
        Profile, pseudonyms and identifiers.
    sequence
        Keyword of the sequence that holds this item, empty for the instance itself.
    strict
        Whether codes may identify as well: in items of a sequence that the table wants replaced.

    Raises
    ------
    HeldError
        ``bad-value``: a value has no one meaning, so that it can neither be cleaned nor stay.
    """
    named = (lambda _text: "") if strict else _short_text_cleaner(context)
    clean_code(ds, context.pseudonyms, named, context.is_local_scheme)
    acquisition = elements() if "acquisition" in context.profile.options else {}
    private = safe_elements(ds, context.profile.safe_private, acquisition)
    # Before cleaning changes the name of the concept.
    content = content_actions(ds, context.profile) if sequence in CONTENT_SEQUENCES else {}
    for tag in list(ds.keys()):
        number = int(tag)
        if tag.is_private:
            if number not in private:
                del ds[tag]
            elif not tag.is_private_creator:
                _clean_private_element(ds, number, private[number], context)
        elif number == _CHARACTER_SET or tag.element == 0 or tag.group in (0, 2):
            # pydicom has decoded all text, and writes it as UTF-8. Group lengths, and groups 0000
            # and 0002, do not belong into a data set (PS3.5 7.1, 7.2).
            del ds[tag]
        elif content.get(number) == "D" or (
            number == MEASURED_VALUE
            and number in content
            and not bin_measured_age(ds, context.profile)
        ):
            _replace_content_value(ds, number)
        else:
            _apply_action(ds, number, context, sequence, strict, content.get(number, ""))


def _replace_content_value(ds: Dataset, tag: int) -> None:
    """Replace the value of a content item by a dummy.

    The item itself stays even where the table removes it: other items may refer to it by its
    position (PS3.3 C.17.3.2.4).
    """
    if tag == MEASURED_VALUE:
        ds[tag].value = Sequence()
    elif tag == CODE_VALUE:
        unknown = Dataset()
        unknown.CodeValue, unknown.CodingSchemeDesignator = "U", "DCM"
        unknown.CodeMeaning = "Unknown sex"
        ds[tag].value = Sequence([unknown])
    else:
        _set_dummy(ds, tag, VALUE_ATTRIBUTES[tag][1])


def _short_text_cleaner(context: ActionContext) -> Callable[[str], str]:
    return lambda text: context.clean_text(0, text, "LO")


def _clean_private_element(
    ds: Dataset, tag: int, safe: SafeElement, context: ActionContext
) -> None:
    """Clean the value of a private element that the profile calls safe."""
    element, vr = ds.get_item(tag), safe.vr
    if isinstance(element, RawDataElement) and vr != element.VR:
        # UN of a defined length holds little endian; a sequence in it has implicit VRs (PS3.5
        # 6.2.2).
        implicit = element.is_implicit_VR or (element.VR == "UN" and vr == "SQ")
        ds._dict[tag] = element._replace(VR=vr, is_implicit_VR=implicit)  # type: ignore[index]
    if safe.acquisition is not None and vr != "SQ":
        if clean_value(ds, tag, safe.acquisition, context.identifiers):
            return
        if not safe.trusted:
            del ds[tag]
            return
    if vr == "SQ":
        for item in ds[tag].value or []:
            clean_dataset(item, context, "private")
    elif vr == "UI":
        _replace_uids(ds, tag, context)
    elif vr in TEXT:
        _clean_text_values(ds, tag, vr, lambda text: context.cleaner.clean(text, vr), "3")
    elif vr in TIMES:
        if "modified" in context.profile.options:
            _shift_times(
                ds, tag, vr, context.shift_days, "3", context.identifiers.birth_days_outside_study
            )
        elif "full" not in context.profile.options:
            del ds[tag]
    elif vr == "CS":
        _clean_code_string(ds, tag, context)
    elif vr in ("IS", "DS"):
        _clean_numbers(ds, tag, vr, context)
    else:
        try:
            _clean_bytes(ds, tag, vr, context)
        except HeldError:
            del ds[tag]


def _apply_action(
    ds: Dataset, tag: int, context: ActionContext, sequence: str, strict: bool, content: str
) -> None:
    element = ds.get_item(tag)
    vr = element.VR
    if isinstance(element, RawDataElement):
        if vr is None and dictionary_has_tag(tag):
            vr = dictionary_VR(tag)
            vr = "OW" if " or " in vr else vr
        elif vr == "UN" and dictionary_has_tag(tag) and dictionary_VR(tag) in ("DS", "IS"):
            vr = dictionary_VR(tag)
            ds._dict[element.tag] = element._replace(VR=vr)  # type: ignore[index]
        elif vr in (None, "UN"):
            element = ds[tag]  # pydicom then takes the VR from its dictionary
            vr = element.VR
    if vr not in _VRS:
        del ds[tag]  # of a later edition, or damaged: the meaning of its bytes is unknown
        return
    action = content or action_for(tag, vr, context.profile, context.sop_class, sequence)
    if vr == "SQ":
        _clean_sequence(ds, tag, action, context, strict)
    elif action == "X":
        del ds[tag]
    elif tag in PIXEL_DATA_TAGS:
        _clean_nested_pixel_data(ds, tag)
    elif tag in _CODE:
        pass
    elif tag in (_PATIENT_ID, _PATIENT_NAME, _ACCESSION):
        _replace_identity(ds, tag, context)
    elif action == "Z":
        ds[tag].value = None
    elif action == "D" and vr != "UI":
        _set_dummy(ds, tag, vr)
    elif vr == "UI":
        _replace_uids(ds, tag, context, keep=action == "K")
    elif vr in TIMES:
        days = context.shift_days if action == "C" else 0
        # An override in the profile may ask for a birth date to be shifted.
        own = tag in context.profile.overrides
        births = frozenset() if own else context.identifiers.birth_days_outside_study
        _shift_times(ds, tag, vr, days, attribute_type(tag, context.sop_class, sequence), births)
        if tag == _AGE and tag in ds and not str(ds[tag].value).isdigit():
            ds[tag].value = bin_value(tag, ds[tag].value, context.profile)
    elif vr in TEXT:
        kind = attribute_type(tag, context.sop_class, sequence)
        if vr == "PN" and action != "K":
            _set_empty(ds, tag, vr, kind)
        elif action == "K":
            _clean_text_values(ds, tag, vr, _keep_unless_identifying(context), kind)
        elif action == "C":
            _clean_text_values(
                ds, tag, vr, lambda text: context.clean_descriptor(tag, text, vr), kind
            )
        else:
            _clean_text_values(ds, tag, vr, lambda text: context.clean_text(tag, text, vr), kind)
    elif vr == "CS":
        _clean_code_string(ds, tag, context)
    elif vr in ("IS", "DS"):
        _clean_numbers(ds, tag, vr, context)
    else:
        _clean_bytes(ds, tag, vr, context)


def _clean_sequence(
    ds: Dataset, tag: int, action: str, context: ActionContext, strict: bool
) -> None:
    if action == "X":
        del ds[tag]
        return
    element = ds[tag]
    if action == "Z":
        element.value = Sequence()
        return
    keyword = keyword_for_tag(tag)
    # A person's or institution's local codes say who it is.
    named = strict or (action == "D" and tag not in (0x0040A730, 0x00700001))
    for item in element.value or []:
        clean_dataset(item, context, keyword or "unknown", named)


def _replace_identity(ds: Dataset, tag: int, context: ActionContext) -> None:
    """Replace PatientID, PatientName and AccessionNumber by pseudonyms, at any depth."""
    value = " ".join(_strings(ds[tag].value)).strip(" \0")
    if tag == _ACCESSION:
        ds[tag].value = context.pseudonyms.accession(value) if value else None
    else:
        # A nested item can be about another patient: a donor, or a mother.
        original = context.patient_id if tag == _PATIENT_NAME or not value else patient_key(ds)
        ds[tag].value = context.pseudonyms.subject(original)


def _set_dummy(ds: Dataset, tag: int, vr: str) -> None:
    ds[tag] = DataElement(tag, vr, _DUMMY_VALUES.get(vr))


def _set_empty(ds: Dataset, tag: int, vr: str, kind: str) -> None:
    """Empty a value; write a dummy where the attribute is of type 1 (PS3.5 7.4)."""
    if kind == "1":
        _set_dummy(ds, tag, vr)
    else:
        ds[tag].value = None


def _replace_uids(ds: Dataset, tag: int, context: ActionContext, keep: bool = False) -> None:
    values = [uid.strip(" \0") for uid in _strings(ds[tag].value)]
    if holds_class_uids(tag) and tag not in context.profile.overrides:
        made = [context.replace_class_uid(uid) if uid else "" for uid in values]
    elif keep:
        right = is_uid if tag in context.profile.overrides else context.is_harmless_uid
        made = [uid if not uid or right(uid) else context.pseudonyms.uid(uid) for uid in values]
    else:
        made = [context.replace_uid(uid) if uid else "" for uid in values]
    ds[tag].value = _multi_value(made)


def _shift_times(
    ds: Dataset, tag: int, vr: str, days: int, kind: str, births: frozenset[str] = frozenset()
) -> None:
    """Shift dates. A birth date is emptied: shifted, it would tell the age in days."""
    values = _strings(ds[tag].value)
    born = [vr != "TM" and (repair_value(text, vr) or "")[:8] in births for text in values]
    moved = [
        "" if birth else _shift_time(tag, text, vr, days)
        for text, birth in zip(values, born, strict=True)
    ]
    if any(moved) or not any(value.strip(" \0") for value in values):
        ds[tag].value = _multi_value(moved)
    elif any(born) or kind != "1":  # otherwise it says no date, as 00000000 does, and may stay
        _set_empty(ds, tag, vr, kind)


def _shift_time(tag: int, text: str, vr: str, days: int) -> str:
    """Shift one date or time, repaired if there is only one way to read it.

    Raises
    ------
    HeldError
        ``bad-value``: it has no one meaning, so that it can neither be shifted nor stay.
    """
    span = _DATES.fullmatch(text.strip(" \0")) if vr == "DA" else None
    if span and any(span.groups()):
        return "-".join(_shift_time(tag, one, vr, days) if one else "" for one in span.groups())
    made = shift_date(text, vr, days)
    if vr != "TM" and made:
        return made
    value = repair_value(text, vr)
    if not value:
        if value is None:
            raise _unreadable_error(tag, vr)
        return ""
    # A date without a day is shifted as a DT of the same precision.
    made = shift_date(value, "DT" if vr == "DA" else vr, days)
    made = made or (value if vr in ("TM", "AS") else "")
    if not made:
        raise _unreadable_error(tag, vr)
    return made


def _unreadable_error(tag: int, vr: str) -> HeldError:
    what = f"{keyword_for_tag(tag) or 'a private element'} ({tag >> 16:04X},{tag & 0xFFFF:04X})"
    return HeldError(
        "bad-value",
        f"{what} holds a value that is no valid {vr} (PS3.5 6.2) and can be read in more than one "
        "way, or in none; correct it at its origin, or remove it by an override in the profile",
    )


def _clean_text_values(
    ds: Dataset, tag: int, vr: str, clean: Callable[[str], str], kind: str
) -> None:
    values = _strings(ds[tag].value)
    cleaned = [clean(text) if text.strip() else "" for text in values]
    if any(cleaned):
        if cleaned != values:
            ds[tag].value = _multi_value(cleaned)
    elif any(values):
        _set_empty(ds, tag, vr, kind)


def _keep_unless_identifying(context: ActionContext) -> Callable[[str], str]:
    # The institution may stay in its own attributes, if the profile keeps it.
    found_in = context.identifiers.occur_in
    return lambda text: "" if found_in(text, places=False, short=True) else text


def _clean_code_string(ds: Dataset, tag: int, context: ActionContext) -> None:
    """Empty the values of a code string that name somebody, or are free text that may."""
    values = _strings(ds[tag].value)
    own = defined_terms(tag)
    if tag == _LAYER:
        ds[tag].value = _multi_value(
            [_replace_layer_name(value.strip(" \0"), context) for value in values]
        )
        return
    kept = []
    for value in values:
        if value.strip(" \0") in own:
            kept.append(value)
        elif _CS.fullmatch(value.rstrip(" \0")):
            known = is_code_string(value) or is_device_code(tag, value)
            kept.append(value if known and not context.identifiers.occur_in(value) else "")
        else:
            # Free text in place of a code. With a digit in it, it may be somebody's number. CS has
            # no character set, so that anything but ASCII is read as something else.
            harmless = (
                value.isascii()
                and _WORDS.fullmatch(value)
                and context.clean_text(tag, value, "LO") == value
            )
            kept.append(value if harmless else "")
    strange = [value for value in kept if value.strip(" \0") not in own]
    if strange and context.identifiers.occur_in(" ".join(strange)):
        # A name spread over several values.
        kept = [value if value.strip(" \0") in own else "" for value in kept]
    if kept != values:
        # An object's IOD may require this attribute, and an empty code string is not valid then.
        ds[tag].value = _multi_value(kept) if any(kept) else _DUMMY_VALUES["CS"]


def _replace_layer_name(name: str, context: ActionContext) -> str:
    """Return the name of a graphic layer, or one that tells it from others (PS3.3 C.10.7)."""
    known = _LAYER_NAME.fullmatch(name) or (_CS.fullmatch(name) and is_code_string(name))
    if known and not context.identifiers.occur_in(name):
        return name
    return context.pseudonyms.code("GraphicLayer", name).upper() if name else ""


def _clean_numbers(ds: Dataset, tag: int, vr: str, context: ActionContext) -> None:
    element = ds.get_item(tag)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        # Read the bytes: decoding would fail on a value such as "1.0e", and costs time.
        values = element.value.decode("latin-1").rstrip(" \0").split("\\")
    else:
        values = [str(getattr(v, "original_string", v)) for v in _list(element.value)]
    # Shorter numbers are counts and positions, even if somebody's number is the same.
    long = [value for value in values if vr == "IS" and len(value.strip()) >= MIN_IDENTIFIER_DIGITS]
    if any(context.identifiers.occur_in(value) for value in long):
        ds[tag] = DataElement(tag, vr, None)
        return
    if not all(not value or _NUMBERS.fullmatch(value) for value in values):
        read = repair_numbers(values, tag)
        if read is None:
            raise _unreadable_error(tag, vr)
        if read != values:
            write_numbers(ds, tag, vr, read)
        values = read
    if keyword_for_tag(tag) in context.profile.bins and all(map(_NUMBERS.fullmatch, values)):
        ds[tag].value = bin_value(tag, ds[tag].value, context.profile)


def _clean_bytes(ds: Dataset, tag: int, vr: str, context: ActionContext) -> None:
    """Empty a binary value that holds an identifier of the study.

    Raises
    ------
    HeldError
        ``bad-value``: the length of a number is wrong.
    """
    value = ds.get_item(tag).value
    if not isinstance(value, bytes):
        return
    if vr in _WIDTH and len(value) % _WIDTH[vr]:
        raise _unreadable_error(tag, vr)  # pydicom would write it as it is, unchecked
    # In implicit VR, an element that is OB or OW is read as OW.
    if vr in ("OB", "OW", "UN") and len(value) <= _SEARCHED:
        for encoding in ("utf-8", "cp1250", "utf-16-le", "utf-16-be"):
            runs = _READABLE.findall(value.decode(encoding, "replace"))
            if any(context.identifiers.occur_in(run, joined=False) for run in runs):
                ds[tag].value = None
                return
    if len(value) >= _FEW and holds_identity(value, context.identifiers):
        ds[tag].value = None


def _clean_nested_pixel_data(ds: Dataset, tag: int) -> None:
    """Remove what is no part of the image from an icon, or from pixel data of a deflated file."""
    element = ds[tag]
    if isinstance(element.value, bytes):
        fragments, layout = bool(element.is_undefined_length), pixel_layout(ds)
        # An icon is no loss, an image is.
        if not layout.bytes and "StudyInstanceUID" in ds and any(element.value):
            raise size_unknown_error()
        element.value = clean_nested_pixels(element.value, fragments, layout)


def _strings(value: Any) -> list[str]:
    return [str(item) for item in _list(value)]


def _list(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__") or hasattr(value, "components"):
        return [value]
    return list(value)


def _multi_value(values: list[str]) -> Any:
    return values if len(values) > 1 else values[0] if values else None
