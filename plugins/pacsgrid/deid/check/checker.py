"""Check anonymised files against their sources.

The checker shares no code with the anonymiser's actions and does not know their table. It knows
only what must be absent, what must be present and what must be unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ...errors import HeldError
from ...review_model import BlankRegion
from ..profile import Profile
from . import blanking, faces, file_meta, pixel_data, pixel_text
from .byte_search import ByteSearch
from .compare import Comparison
from .faces import MaskOf
from .findings import Counts
from .identity import Identity
from .identity_search import IdentitySearch
from .reader import Header, MalformedError, read_header, read_header_stream
from .references import References
from .verdict_cache import VerdictCache

_RECREATE = "have the source file written anew at its origin, or report it to pacsgrid's authors"


class Checker:
    """A checker for the instances of one study, or of one patient.

    Parameters
    ----------
    profile
        The profile that the results were made with. It says what may stay.
    identity
        The identifying values of all of the study's sources, from `scan`. Each value is searched
        for in every result, whichever header it came from. Without it, each checked source adds
        its own values.
    subjects
        The subjects that come from outside and may stand in PatientID and PatientName.
    issued
        The UIDs that the project issued, which must stay as they are (`verified_uids`).

    Attributes
    ----------
    references
        How each UID was replaced. This finds broken references across files.
    counts
        What became of the elements checked so far.

    Notes
    -----
    Identifying values are held in memory only.
    """

    def __init__(
        self,
        profile: Profile,
        identity: Identity | None = None,
        subjects: frozenset[str] = frozenset(),
        issued: frozenset[bytes] = frozenset(),
    ) -> None:
        self._profile = profile
        self._subjects = subjects
        self._issued = issued
        # Without a scan of all sources, each source's own header supplies the values.
        self._alone = identity is None
        self._identity = Identity() if identity is None else identity
        if issued:
            uids = self._identity.original_uids - issued
            self._identity = replace(self._identity, original_uids=uids)
        self.references = References()
        # Digests of bytes removed from frames, and their positions, once decoding has proved
        # that they were not part of the image.
        self._proven: VerdictCache[bytes, bool] = VerdictCache()
        self.counts = Counts()
        self._rebuild()

    def __repr__(self) -> str:
        """Return a text that holds no identifying value."""
        return f"Checker({self._profile.name}, {self.counts.instances} instances)"

    def _rebuild(self) -> None:
        self._search = IdentitySearch(self._identity)
        full = "full" in self._profile.options
        self._raw = ByteSearch(self._identity, self._search.births if full else self._search.dates)
        self._comparison = Comparison(
            self._profile,
            self._identity,
            self._search,
            self.references,
            self._subjects,
            self._issued,
        )

    def _take(self, header: Header) -> None:
        new = self._identity.add(header.meta, self._profile)
        new |= self._identity.add(header.elements, self._profile)
        if new:
            self._rebuild()

    def check(
        self,
        source: Path,
        result: Path,
        regions: Sequence[BlankRegion] = (),
        face: MaskOf | None = None,
    ) -> None:
        """Refuse a result that still identifies the patient, or that lost what it needs.

        Add what became of its elements to `counts`.

        Parameters
        ----------
        source
            The file before anonymisation.
        result
            The file after it.
        regions
            What a steward had blanked.
        face
            Which pixels of the face were removed, None if the file has none to remove.

        Raises
        ------
        HeldError
            ``identity-left``, ``private-left``, ``required-missing``, ``reference-changed``,
            ``pixels-changed``, ``pixels-text``, ``value-lost``, ``geometry-lost`` or
            ``not-clean``. The text names an element or a frame, never a value.
        """
        with open(source, "rb", buffering=0) as old, open(result, "rb", buffering=0) as new:
            before, after = _read(old, "source"), _read(new, "result")
            if self._alone:
                self._take(before)
            file_meta.check_structure(after)
            kept = "uids" in self._profile.options
            file_meta.check_name(result, self._search, self._identity, kept)
            self._comparison.run(before, after)
            try:
                taken = pixel_data.check_pixels(old, before, new, after, self._raw)
            except HeldError as error:
                changed = blanking.declares_cleaned(after) or blanking.hides_overlay(before)
                if error.code != "pixels-changed" or not (changed or face):
                    raise
                if face is None:
                    blanking.check_blanked(source, result, after, regions)
                taken = {}
            else:
                if regions:
                    blanking.check_blanked(source, result, after, regions)
        if face is not None:
            faces.check_frames(source, result, face)
        unproven = taken.keys() - self._proven.keys()
        pixel_data.check_decoded(source, result, [taken[digest] for digest in unproven])
        for digest in unproven:
            self._proven.keep(digest, True)
        look = "all" if regions else self._profile.pixels.look
        if pixel_text.needs_reading(before, look):
            full = "full" in self._profile.options
            dates = frozenset(self._search.births if full else self._search.dates)
            self.counts.frames_read += pixel_text.check_text(result, self._search, dates)
        self.counts.by_tag.update(self._comparison.fates)
        self.counts.instances += 1

    def take_results(self) -> tuple[Counts, References]:
        """Return the counts and the replaced UIDs since the last call, and reset both."""
        counts, self.counts = self.counts, Counts()
        return counts, self.references.take_all()


@dataclass(frozen=True)
class ScannedHeader:
    """A source file whose header was read. It identifies a patient: keep it in memory only.

    Attributes
    ----------
    path
        The file.
    study_uid
        Its original StudyInstanceUID (0020,000D).
    sop_uid
        Its original SOPInstanceUID (0008,0018).
    size
        The file's length in bytes.
    pixels
        How many of its pixels will be read for text.
    series_uid
        Its original SeriesInstanceUID (0020,000E).
    modality
        Its Modality (0008,0060).
    """

    path: Path
    study_uid: str
    sop_uid: str
    size: int = 0
    pixels: int = 0
    series_uid: str = ""
    modality: str = ""


def scan(
    sources: Iterable[Path], profile: Profile
) -> dict[str, tuple[Identity, list[ScannedHeader]]]:
    """Collect the identifying values in the headers of files.

    Files that cannot be read are skipped: they have no result to check.

    Parameters
    ----------
    sources
        The files before anonymisation.
    profile
        The profile that the results are made with.

    Returns
    -------
    dict
        By original StudyInstanceUID: the study's identifying values and its headers.
    """
    found: dict[str, tuple[Identity, list[ScannedHeader]]] = {}
    for path in sources:
        try:
            header = read_header(path)
        except Exception:  # the anonymiser reports a file that cannot be read
            continue
        seen = ScannedHeader(
            path,
            _uid(header, 0x0020000D),
            _uid(header, 0x00080018),
            header.size,
            pixel_text.pixels_to_read(header, profile.pixels.look),
            _uid(header, 0x0020000E),
            _uid(header, 0x00080060),
        )
        identity, headers = found.setdefault(seen.study_uid, (Identity(), []))
        identity.add(header.meta, profile)
        identity.add(header.elements, profile)
        headers.append(seen)
    return found


def _uid(header: Header, tag: int) -> str:
    element = header.elements.get(tag)
    return element.value.strip(b"\0 ").decode("latin-1") if element else ""


def _read(stream: BinaryIO, which: str) -> Header:
    try:
        return read_header_stream(stream)
    except MalformedError as error:
        raise HeldError(
            "not-clean", f"the checker cannot read the {which}: {error}; {_RECREATE}"
        ) from None
    except OSError:
        raise
    except Exception as error:  # its text may quote a value
        kind = type(error).__name__
        raise HeldError(
            "not-clean", f"the checker cannot read the {which} ({kind}); {_RECREATE}"
        ) from None


def check_file(source: Path, result: Path, profile: Profile) -> Counts:
    """Check one file by itself.

    Parameters
    ----------
    source
        The file before anonymisation.
    result
        The file after it.
    profile
        The profile that the result was made with.

    Returns
    -------
    Counts
        What became of its elements.

    Raises
    ------
    HeldError
        The result is refused; see `Checker.check`.
    """
    checker = Checker(profile)
    checker.check(source, result)
    return checker.counts
