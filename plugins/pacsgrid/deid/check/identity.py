"""Collect the identifying values of a study's headers, which no result may contain."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from ..profile import Profile
from .element_dates import days_in_value
from .reader import Items
from .text_decoding import decode, encodings_of, possible_readings
from .uids import CLASS_UID_TAGS, is_standard

_VRS = frozenset(("AE", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UT"))
# Patient, visit, order, trial and report identifiers (PS3.3 C.2, C.3, C.4, C.7); SH, LO and AE.
_IDS = frozenset(
    (
        0x00080050, 0x00100020, 0x00101000, 0x00101090, 0x00120040, 0x00120042, 0x00181000,
        0x00200010, 0x00380010, 0x00380060, 0x00400009, 0x00400253, 0x00401001, 0x00402016,
        0x00402017, 0x0040A123, 0x00081010, 0x00400241, 0x00400242, 0x00020016, 0x00101080,
    )
)  # fmt: skip
_PERSONAL_IDS = frozenset((0x00100020, 0x00101000))
_PHONES = frozenset((0x00080094, 0x00102154, 0x00102155, 0x00401103, 0x00401104))
_ADDRESSES = frozenset((0x00080081, 0x00080092, 0x00101040, 0x00401102, 0x00081190, 0x00380300))
_INSTITUTIONS = frozenset((0x00080080, 0x00080082))
_PATIENTS = frozenset((0x00100010, 0x00101001, 0x00101005, 0x00101060))
_STATION, _MODEL = 0x00081010, 0x00081090
_EXAMINED = frozenset((0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x0008002A))
_BIRTH = frozenset((0x00100030, 0x00100032, 0x00100033))
# What the profile's options let through (PS3.15 E.3.2 to E.3.4).
_KEPT_BY = {
    "device": frozenset(
        (
            0x00181000, 0x00081010, 0x00400241, 0x00400242,
            0x00181002, 0x0018100B,
            # Dates of the device's manufacture, installation and calibration.
            0x0014407E, 0x00181200, 0x00181202, 0x00181203, 0x00181204, 0x00181205, 0x0018700C,
            0x300C0127,
        )
    ),
    "institution": _INSTITUTIONS | {0x00080081},
}  # fmt: skip
# Elements whose whole value always differs in the output, however short it is.
ALWAYS_NEW = _IDS - {0x00200010} | _PHONES | _ADDRESSES
# The placeholder for a required date. Sources that were anonymised before may hold it too.
_NO_DATE = "19000101"
# UIDs that name a class, or the program that wrote the file (0002,0012), not an instance.
_NO_INSTANCE = CLASS_UID_TAGS | {0x00020012}


@dataclass
class Identity:
    """A study's identifying values, as its headers have them. Keep it in memory only.

    Attributes
    ----------
    names
        Names of persons, read in every character set that is likely.
    patients, persons
        Names of the patients, and of all persons, read in the declared character set only.
    ids, personal_ids
        Identifiers of the patient, the visit, orders and reports, and those of the patient alone.
    places
        Addresses and institutions.
    phones
        Telephone numbers and e-mail addresses.
    dates, births
        Whole dates, and the patients' birth dates, as ``YYYYMMDD``.
    examined
        Days of the examination. A newborn's birth date may be one of them.
    models, institutions, stations
        Names of device models, of institutions and of stations.
    original_uids
        The UIDs of the sources.
    """

    names: set[str] = field(default_factory=set)
    patients: set[str] = field(default_factory=set)
    persons: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    personal_ids: set[str] = field(default_factory=set)
    places: set[str] = field(default_factory=set)
    phones: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    examined: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    institutions: set[str] = field(default_factory=set)
    stations: set[str] = field(default_factory=set)
    births: set[str] = field(default_factory=set)
    original_uids: set[bytes] = field(default_factory=set)
    _seen: set[tuple[int, bytes]] = field(default_factory=set, repr=False)

    def __repr__(self) -> str:
        """Return a text that holds no identifying value."""
        return f"Identity({len(self.names)} names, {len(self.ids)} ids)"

    def __or__(self, other: Identity) -> Identity:
        """Return the values of both."""
        return Identity(
            *(getattr(self, part.name) | getattr(other, part.name) for part in fields(self))
        )

    def add(self, items: Items, profile: Profile, outer: tuple[str, ...] = ("iso8859",)) -> bool:
        """Collect the identifying values of a dataset and of its sequences.

        Parameters
        ----------
        items
            The dataset's elements.
        profile
            The profile. Elements that it keeps are left out.
        outer
            The Python encodings that hold where the dataset names no character set.

        Returns
        -------
        bool
            Whether there was a new value, other than a UID.
        """
        kept = kept_by_profile(profile)
        before = len(self._seen)
        self._add(items, kept, outer)
        return len(self._seen) > before

    def _add(self, items: Items, kept: frozenset[int], outer: tuple[str, ...]) -> None:
        encodings = encodings_of(items, outer)
        for tag, element in items.items():
            if element.items is not None:
                for item in element.items:
                    self._add(item, kept, encodings)
            elif element.vr in _VRS and element.value and tag not in kept:
                self._one(tag, element.vr, element.value, encodings)

    def _one(self, tag: int, vr: str, value: bytes, encodings: tuple[str, ...]) -> None:
        if vr == "UI":
            for part in value.split(b"\\"):
                uid = part.strip(b"\0 ")
                if uid and tag not in _NO_INSTANCE and not is_standard(uid):
                    self.original_uids.add(uid)
            return
        kind = self._kind(tag, vr)
        if kind is None or (tag, value) in self._seen:
            return
        self._seen.add((tag, value))
        if kind == "dates":
            found = days_in_value(value.decode("latin-1")) - {_NO_DATE}
            (self.births if tag in _BIRTH else self.dates).update(found)
            if tag in _EXAMINED:
                self.examined |= found
            return
        if tag == _STATION:
            self.stations |= possible_readings(value, encodings)
            return
        target: set[str] = getattr(self, kind)
        if vr == "PN":
            # In the declared character set only: another reading of two letters is another name.
            called = set(decode(value, encodings).split("\\"))
            self.persons |= called
            if tag in _PATIENTS:
                self.patients |= called
        if tag in _INSTITUTIONS:
            self.institutions.add(decode(value, encodings))
        for text in possible_readings(value, encodings):
            parts = {part for part in text.split("\\") if part.strip("\0 ")}
            target |= parts
            if tag in _PERSONAL_IDS:
                self.personal_ids |= parts
                # An ID without digits is searched for like a name.
                self.names |= {part for part in parts if part.isalpha() and len(part) >= 6}

    @staticmethod
    def _kind(tag: int, vr: str) -> str | None:
        if vr == "PN":
            return "names"
        if tag == _MODEL:
            return "models"
        if vr in ("DA", "DT"):
            return "dates"
        if tag in _IDS:
            return "ids"
        if tag in _PHONES:
            return "phones"
        if tag in _ADDRESSES or tag in _INSTITUTIONS:
            return "places"
        return None


def kept_by_profile(profile: Profile) -> frozenset[int]:
    """Return the tags of the elements that the profile keeps unchanged (PS3.15 E.3.2 to E.3.4)."""
    tags = {tag for tag, action in profile.overrides.items() if action == "K"}
    for option, kept in _KEPT_BY.items():
        if option in profile.options:
            tags |= kept
    return frozenset(tags)
