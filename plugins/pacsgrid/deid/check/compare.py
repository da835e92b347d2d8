"""Compare one result with its source, element by element, inside sequences too."""

from __future__ import annotations

import re
from collections.abc import Callable

from ...errors import HeldError
from ..profile import Profile
from .acquisition import acquisition_creators, is_harmless, is_listed
from .byte_search import ByteSearch
from .element_dates import days_in_value
from .findings import ADDED, EMPTIED, KEPT, REMOVED, REPLACED, format_tag, identity_left
from .geometry import check_mosaic
from .identity import ALWAYS_NEW, Identity, kept_by_profile
from .identity_search import IdentitySearch, find_dates
from .published_codes import means_what_it_says, measures_age
from .reader import Element, Header, Items
from .references import References
from .required_attributes import RequiredAttributes, required_at_top_level, required_in_items
from .text_decoding import decode, encodings_of, undo_mojibake
from .uids import CLASS_UID_TAGS, holds_identity, is_standard, is_valid
from .value_loss import LossCheck
from .verdict_cache import VerdictCache
from .vocabulary import DESCRIPTIONS, defined_terms, is_manufacturer, without_own_words

_TEXT = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AS"))
# VRs in which two letters alone may be a name; the elements in _CODED (codes, units,
# manufacturers) are excepted.
_NAMING = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_CODED = frozenset((0x00080070, 0x00080100, 0x00080102, 0x00181210, 0x00281054))
_MEASURED, _NUMERIC = 0x0040A300, 0x0040A30A
_SCHEME_NAMES = frozenset((0x00080102, 0x00080112, 0x00080114, 0x00080115, 0x00080116))
_TIMES = frozenset(("DA", "DT"))
_BYTES = frozenset(("UN", "OB"))
# The anonymiser drops an extended offset table that does not match the fragments
# (PS3.3 C.7.6.3.1.8).
_OFFSETS = frozenset((0x7FE00001, 0x7FE00002))
_CLASS, _METHOD, _METHOD_CODES = 0x00080016, 0x00120063, 0x00120064
# In binary values longer than _BYTES_LIMIT a word of five letters occurs by chance. Numeric
# values shorter than _FEW bytes cannot hold text.
_BYTES_LIMIT, _FEW = 1 << 16, 8
_NUMBERS = frozenset(
    ("AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "UN", "US", "UV")
)
_DEFAULT = ("iso8859",)
# PatientName and PatientID, which hold the subject.
_SUBJECT = frozenset((0x00100010, 0x00100020))
# What became of an element, by tag, VR, and value before and after.
_Fates = VerdictCache[tuple[int, str, bytes | None, bytes], str]
# Placeholders for removed values. Sources that were anonymised before may hold them too.
_REMOVED = frozenset((b"REMOVED", b"urn:removed"))
# The placeholder for a required date.
_NO_DATE = b"19000101"
# PS3.16 CID 7050. These meanings are let through, since a patient may be called "Basic".
_METHODS = {
    b"113100": b"Basic Application Confidentiality Profile",
    b"113101": b"Clean Pixel Data Option",
    b"113103": b"Clean Graphics Option",
    b"113104": b"Clean Structured Content Option",
    b"113105": b"Clean Descriptors Option",
    b"113106": b"Retain Longitudinal Temporal Information Full Dates Option",
    b"113107": b"Retain Longitudinal Temporal Information Modified Dates Option",
    b"113108": b"Retain Patient Characteristics Option",
    b"113109": b"Retain Device Identity Option",
    b"113110": b"Retain UIDs Option",
    b"113111": b"Retain Safe Private Option",
    b"113112": b"Retain Institution Identity Option",
}
_SCHEME, _CODE, _MEANING = 0x00080102, 0x00080100, 0x00080104
# Terms that the anonymiser writes about itself (PS3.3 C.12.1.1.1), even if they equal a name.
_SAID = {
    0x00120062: (b"YES",),
    0x00280303: (b"REMOVED", b"MODIFIED", b"UNMODIFIED"),
}
_STATES = (
    (0x00120062, b"YES", "PatientIdentityRemoved (0012,0062)"),
    (_METHOD, b"", "DeidentificationMethod (0012,0063)"),
)


class Comparison:
    """A comparison of the headers of one study, pair by pair.

    Parameters
    ----------
    profile
        The profile that the results were made with.
    identity
        The study's identifying values.
    search
        The search for these values in text and bytes.
    references
        The UIDs replaced so far; every `run` adds to them.
    subjects
        The subjects that come from outside.
    issued
        The UIDs that the project issued.

    Attributes
    ----------
    fates
        Tag and fate ("kept", "removed" ...) of each element in the last pair.
    """

    def __init__(
        self,
        profile: Profile,
        identity: Identity,
        search: IdentitySearch,
        references: References,
        subjects: frozenset[str] = frozenset(),
        issued: frozenset[bytes] = frozenset(),
    ) -> None:
        self._issued = issued
        self._subjects = {subject.encode() for subject in subjects}
        self._profile = profile
        self._identity = identity
        self._search = search
        self._references = references
        self._raw = ByteSearch(identity, search.births)
        self._kept = kept_by_profile(profile)
        self._method = f"pacsgrid {profile.name} {profile.hash[:16]}".encode()
        self._creators = {(creator, group) for creator, group, _ in profile.safe_private}
        self._acquisition = "acquisition" in profile.options
        if self._acquisition:
            self._creators |= acquisition_creators()
        # Acquisition elements with VR and value that consist of what belongs there, or do not.
        self._harmless: VerdictCache[tuple[object, ...], bool] = VerdictCache()
        self._little = True
        # Values with their VR that were searched and identify nobody.
        self._clean: VerdictCache[tuple[str, bytes], bool] = VerdictCache()
        # Fates of elements that passed, by the character sets before and after.
        self._fates_known: dict[tuple[tuple[str, ...], ...], _Fates] = {}
        digits = {re.sub(r"\D", "", value) for value in identity.ids}
        self._digits = {number.encode() for number in digits if len(number) >= 6}
        self._losses = LossCheck(profile, identity)
        self._rounds = "PatientAge" in profile.bins
        self._aged = False
        # Elements that may be missing from a result.
        self._removable: VerdictCache[tuple[int, str, bytes], bool] = VerdictCache()
        self.fates: list[tuple[int, str]] = []

    def run(self, before: Header, after: Header) -> None:
        """Compare two headers.

        Parameters
        ----------
        before
            The header of the source.
        after
            The header of the result.

        Raises
        ------
        HeldError
            At the first fault; see `Checker.check` for the codes.
        """
        self.fates = []
        for tag, wanted, what in _STATES:
            element = after.elements.get(tag)
            value = element.value.strip(b"\0 ") if element else b""
            if not value or (wanted and value != wanted):
                raise HeldError(
                    "required-missing",
                    f"{what} does not record the anonymisation; report it to pacsgrid's authors",
                )
        sop_class = before.elements.get(_CLASS)
        uid = sop_class.value.strip(b"\0 ").decode("latin-1") if sop_class else ""
        self._required(before.elements, after.elements, required_at_top_level(uid))
        self._little = after.little
        self._dataset(before.elements, after.elements, _DEFAULT, _DEFAULT)
        if self._acquisition:
            check_mosaic(before.elements, after.elements)

    def _required(self, before: Items, after: Items, required: RequiredAttributes) -> None:
        for tag in required.type1 & before.keys() - _OFFSETS:
            if _has_value(before[tag]) and tag not in self._profile.overrides:
                made = after.get(tag)
                if made is None or not _has_value(made):
                    if found := self._identity_in(before[tag]):
                        raise HeldError(
                            "identity-left",
                            f"{format_tag(tag)} was removed although it is required: its bytes "
                            f"hold {found} from the study's own headers; correct it at its origin",
                        )
                    raise _missing(tag)
        for tag in required.type2 & before.keys():
            if tag not in after and tag not in self._profile.overrides:
                raise _missing(tag)

    def _identity_in(self, element: Element) -> str | None:
        """Return the kind of identifying value in a binary element, or None."""
        if element.items is not None or element.vr not in _NUMBERS:
            return None
        return self._raw.search_value(element.value)

    def _dataset(
        self, before: Items | None, after: Items, was: tuple[str, ...], now: tuple[str, ...]
    ) -> None:
        """Compare two datasets; without `before`, check each element of `after` by itself."""
        now = encodings_of(after, now)
        was = encodings_of(before, was) if before is not None else was
        known = self._fates_known.setdefault((was, now), VerdictCache())
        fates = self.fates
        for tag, element in after.items():
            old = before.get(tag) if before is not None else None
            key = (tag, element.vr, old.value if old is not None else None, element.value)
            fate = known.get(key)
            if fate is None or element.vr in ("SQ", "UI") or tag & 0x10000 or tag == _MEANING:
                if tag & 0xFFFF == 0:
                    raise HeldError(
                        "not-clean",
                        f"a group length {format_tag(tag)} is left in the result; "
                        "report it to pacsgrid's authors",
                    )
                judged = tag >> 16 & 1 and self._private(tag, after, now)
                if element.items is not None:
                    outer = self._aged
                    if tag == _MEASURED:
                        self._aged = self._rounds and measures_age(after)
                    self._sequence(tag, old, element.items, was, now)
                    self._aged = outer
                elif tag == _NUMERIC and self._aged:
                    continue  # an age in a report is rounded like the header's
                elif judged:
                    pass
                elif tag != _MEANING or not means_what_it_says(after):
                    self._value(tag, old, element, was, now)
                    if old is not None:
                        self._losses.check(tag, old, element)
                fate = _fate(old, element)
                known.keep(key, fate)
            fates.append((tag, fate))
        if before is not None:
            for tag, old in before.items():
                if tag not in after:
                    self._removed(tag, old)
                    fates.append((tag, REMOVED))

    def _removed(self, tag: int, old: Element) -> None:
        key = (tag, old.vr, old.value)
        if old.items is None and key not in self._removable:
            self._losses.check(tag, old, None)
            self._removable.keep(key, True)

    def _sequence(
        self,
        tag: int,
        old: Element | None,
        items: list[Items],
        was: tuple[str, ...],
        now: tuple[str, ...],
    ) -> None:
        previous = old.items if old is not None else None
        if previous is None or tag == _METHOD_CODES:
            for item in items:
                if tag == _METHOD_CODES and _is_method(item):
                    self.fates += [(inner, ADDED) for inner in item]
                else:
                    self._dataset(None, item, was, now)
            return
        if items and len(previous) != len(items):
            raise HeldError(
                "reference-changed",
                f"{format_tag(tag)} has another number of items than in the source; "
                "report it to pacsgrid's authors",
            )
        required = required_in_items(tag)
        for source, item in zip(previous, items, strict=bool(items)):
            self._required(source, item, required)
            self._dataset(source, item, was, now)

    def _private(self, tag: int, items: Items, now: tuple[str, ...]) -> bool:
        """Refuse a private element that is not listed; return whether its value needs no search."""
        group, low = tag >> 16, tag & 0xFFFF
        if 0x10 <= low <= 0xFF:
            creator = _creator(decode(items[tag].value, now))
            if (creator, group) not in self._creators:
                raise HeldError(
                    "private-left",
                    f"private creator {format_tag(tag)} is left in the result, but the profile "
                    "does not list it; report it to pacsgrid's authors",
                )
            return False
        block = items.get(group << 16 | low >> 8)
        creator = _creator(decode(block.value, now)) if block is not None else ""
        key = (creator, group, low & 0xFF)
        listed = self._acquisition and is_listed(*key)
        if listed and self._is_harmless(key, items[tag]):
            return True
        if key not in self._profile.safe_private:
            why = (
                "holds more than the numbers and words of an acquisition"
                if listed
                else "is left in the result, but the profile does not list it"
            )
            raise HeldError(
                "private-left",
                f"private element {format_tag(tag)} {why}; report it to pacsgrid's authors",
            )
        return False

    def _is_harmless(self, key: tuple[str, int, int], element: Element) -> bool:
        known = (key, element.vr, element.value, self._little)
        if (verdict := self._harmless.get(known)) is None:
            verdict = is_harmless(
                key, element.vr, element.value, self._names_somebody, self._little
            )
            self._harmless.keep(known, verdict)
        return verdict

    def _names_somebody(self, text: str) -> bool:
        """Return whether a number of six or more digits, or a short word, identifies somebody."""
        if text.isdigit():
            number = text.encode()
            return text in self._search.dates or any(one in number for one in self._search.numbers)
        return self._search.search_text(text) is not None

    def _value(
        self,
        tag: int,
        old: Element | None,
        element: Element,
        was: tuple[str, ...],
        now: tuple[str, ...],
    ) -> None:
        vr, value = element.vr, element.value
        if not value or tag in self._kept:
            return
        if vr == "UI":
            self._uid(tag, old, value)
        elif vr in _TIMES:
            self._time(tag, old, value)
        elif vr in _TEXT:
            self._text(tag, old, element, was, now)
        elif vr in _BYTES and len(value) <= _BYTES_LIMIT:
            self._judged(
                tag,
                vr,
                value,
                lambda data: self._search.search_bytes(data) or self._raw.search_value(data),
            )
        elif vr in _NUMBERS and len(value) >= _FEW:
            self._judged(tag, vr, value, self._raw.search_value)
        elif vr == "IS" and value.strip(b"\0 ") in self._search.numbers:
            raise identity_left(format_tag(tag), "an identifier")

    def _judged(
        self, tag: int, vr: str, value: bytes, judge: Callable[[bytes], str | None]
    ) -> None:
        """Check a value once per study, since most slices repeat it."""
        if (vr, value) in self._clean:
            return
        if found := judge(value):
            raise identity_left(format_tag(tag), found)
        self._clean.keep((vr, value), True)

    def _uid(self, tag: int, old: Element | None, value: bytes) -> None:
        kept = "uids" in self._profile.options
        made = [part.strip(b"\0 ") for part in value.split(b"\\")]
        for uid in made:
            if uid and not is_valid(uid):
                raise identity_left(format_tag(tag), "a malformed UID")
            if uid in self._identity.original_uids and not kept:
                raise identity_left(format_tag(tag), "an original UID")
        if old is None:
            return
        source = [part.strip(b"\0 ") for part in old.value.split(b"\\")]
        if len(source) != len(made):
            raise _changed(tag)
        for was, uid in zip(source, made, strict=True):
            if not was or is_standard(was) or was in self._issued:
                if uid != was:
                    raise _changed(tag)
            elif uid == was and tag in CLASS_UID_TAGS:  # a manufacturer's class or scheme
                if holds_identity(uid, self._digits, self._search.dates):
                    raise identity_left(format_tag(tag), "an identifier or date")
            elif uid == was and kept:
                born = self._identity.births - self._identity.examined
                if tag not in self._profile.overrides and holds_identity(uid, (), born):
                    raise identity_left(format_tag(tag), "a birth date")
            elif not self._references.record(was, uid):
                raise _changed(tag)

    def _time(self, tag: int, old: Element | None, value: bytes) -> None:
        self._birth(tag, old, value)
        known = self._search.births if "full" in self._profile.options else self._search.dates
        left = days_in_value(value.decode("latin-1")) & known
        # A shifted date may coincide with another of the study's dates.
        if left and (old is None or left & days_in_value(old.value.decode("latin-1"))):
            raise identity_left(format_tag(tag), "a full date")

    def _birth(self, tag: int, old: Element | None, value: bytes) -> None:
        """Refuse a shifted birth date: with a shifted study date it gives the age in days."""
        if old is None or tag in self._profile.overrides:
            return
        births = self._identity.births - self._identity.examined
        was, made = old.value.split(b"\\"), value.split(b"\\")
        for source, part in zip(was, made, strict=False):
            born = source[:8].decode("latin-1") in births
            if born and part.strip(b"\0 ") and not part.startswith(_NO_DATE):
                raise identity_left(format_tag(tag), "a shifted birth date")

    def _text(
        self,
        tag: int,
        old: Element | None,
        element: Element,
        was: tuple[str, ...],
        now: tuple[str, ...],
    ) -> None:
        value = element.value
        if tag == _METHOD and value.strip(b"\0 ") == self._method:
            return
        if element.vr == "CS" and value.strip(b"\0 ") in _SAID.get(tag, ()):
            return
        if is_manufacturer(tag, value):
            return
        if own := defined_terms(tag):
            # The attribute's defined terms identify nobody.
            value = b"\\".join(one for one in value.split(b"\\") if one.strip(b"\0 ") not in own)
            if not value:
                return
        same = old is not None and value == old.value
        if tag in ALWAYS_NEW and same and value.strip(b"\0 ") not in _REMOVED:
            raise identity_left(format_tag(tag), "the source's own value")
        if tag in _SCHEME_NAMES and self._search.names_institution(decode(value, now)):
            raise identity_left(format_tag(tag), "an institution")
        if tag in _SUBJECT and value.strip(b"\0 ") in self._subjects:
            subject = decode(value, now).strip("\0 ")
            found = self._search.search_subject(subject)
            if found is None and self._dates.intersection(find_dates(subject)):
                found = "a full date"
            if found:
                raise HeldError(
                    "identity-left",
                    f"the subject that this patient has from outside holds {found} from the "
                    "study's own headers; have the patient given another subject",
                )
            return
        short = element.vr in _NAMING and tag not in _CODED
        kind = element.vr if short else element.vr + "?"
        kind += "+" if tag in DESCRIPTIONS else ""
        if (kind, value) not in self._clean:
            text = decode(value, now)
            found = self._search.search_text(text, short)
            if found and tag in DESCRIPTIONS:
                rest = without_own_words(tag, text)
                found = found if rest is None else self._search.search_text(rest, short)
            for other in undo_mojibake(text) if found is None else ():
                found = found or self._search.search_text(other, short)
            if found:
                raise identity_left(format_tag(tag), found)
            if dates := set(find_dates(text)) & self._dates:
                source = set(find_dates(decode(old.value, was))) if old is not None else dates
                if dates & source:
                    raise identity_left(format_tag(tag), "a full date")
                return  # not cached: the same text may be wrong in another element
            self._clean.keep((kind, value), True)

    @property
    def _dates(self) -> set[str] | frozenset[str]:
        return self._search.births if "full" in self._profile.options else self._search.dates


def _creator(text: str) -> str:
    """Return a private creator as the profile writes it: folded case, single blanks."""
    return re.sub(r"[\s\0]+", " ", text).strip().casefold()


def _is_method(item: Items) -> bool:
    """Return whether an item is exactly one of the de-identification codes of CID 7050."""
    if item.keys() != {_SCHEME, _CODE, _MEANING}:
        return False
    values = {tag: element.value.strip(b"\0 ") for tag, element in item.items()}
    return values[_SCHEME] == b"DCM" and _METHODS.get(values[_CODE]) == values[_MEANING]


def _has_value(element: Element) -> bool:
    """Return whether an element has a value; a binary zero is one."""
    if element.items is not None:
        return bool(element.items)
    return bool(element.value if element.vr in _NUMBERS else element.value.strip(b"\0 "))


def _fate(old: Element | None, new: Element) -> str:
    if old is None:
        return ADDED
    if new.items is not None:
        return KEPT if new.items or not old.items else EMPTIED
    if old.value == new.value or old.value.strip(b"\0 ") == new.value.strip(b"\0 "):
        return KEPT
    return REPLACED if new.value.strip(b"\0 ") else EMPTIED


def _missing(tag: int) -> HeldError:
    return HeldError(
        "required-missing",
        f"the result lacks {format_tag(tag)}, which its SOP class requires and the source has; "
        "correct the profile's override for it, or report it to pacsgrid's authors",
    )


def _changed(tag: int) -> HeldError:
    return HeldError(
        "reference-changed",
        f"the UIDs in {format_tag(tag)} are not replaced consistently, so that references may "
        "break; correct the profile, or report it to pacsgrid's authors",
    )
