"""The checker: reads what came out, compares it with what went in, trusts neither.

It shares no code with the actions and knows nothing of their table, only what must not be
there, what must, and what must not have changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...errors import HeldError
from ..profile import Profile
from . import blanking, file_meta, pixel_data, pixel_text
from .byte_search import ByteSearch
from .compare import Comparison
from .findings import Counts
from .identity import Identity
from .identity_search import IdentitySearch
from .reader import Header, MalformedError, read_header, read_header_stream
from .references import References
from .verdict_cache import VerdictCache


class Checker:
    """Checks the instances of one study, or of one patient, against each other's headers.

    Parameters
    ----------
    profile
        What the results were made with: it says what may stay.
    identity
        What identifies in all of the study's sources, from `scan`: what one header knows is
        looked for in every result. Without it each checked source adds what it says itself.

    Notes
    -----
    `check` remembers how each UID was replaced, so that a reference that no longer leads to its
    object is found across files. Holds identifying values in memory only.
    """

    def __init__(self, profile: Profile, identity: Identity | None = None) -> None:
        self._profile = profile
        # Without what all sources say each source's own header has to do.
        self._alone = identity is None
        self._identity = Identity() if identity is None else identity
        self.references = References()
        # Bytes removed from frames and proven to be no part of the image, by digest and place.
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
        self._comparison = Comparison(self._profile, self._identity, self._search, self.references)

    def _take(self, header: Header) -> None:
        new = self._identity.add(header.meta, self._profile)
        new |= self._identity.add(header.elements, self._profile)
        if new:
            self._rebuild()

    def check(self, source: Path, result: Path) -> None:
        """Refuse a result that still identifies, or that lost what it needs.

        What became of its elements is added to `counts`.

        Parameters
        ----------
        source, result
            The file before and after.

        Raises
        ------
        HeldError
            ``identity-left``, ``private-left``, ``required-missing``, ``reference-changed``,
            ``pixels-changed``, ``pixels-text`` or ``not-clean``; the text names an element or
            a frame, never a value.
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
                if error.code != "pixels-changed" or not changed:
                    raise
                blanking.check_blanked(source, result, after)
                taken = {}
        unproven = taken.keys() - self._proven.keys()
        pixel_data.check_decoded(source, result, [taken[digest] for digest in unproven])
        for digest in unproven:
            self._proven.keep(digest, True)
        if pixel_text.needs_reading(before, self._profile.pixels.look):
            full = "full" in self._profile.options
            dates = frozenset(self._search.births if full else self._search.dates)
            self.counts.frames_read += pixel_text.check_text(result, self._search, dates)
        self.counts.by_tag.update(self._comparison.fates)
        self.counts.instances += 1

    def take_results(self) -> tuple[Counts, References]:
        """Return counts and replaced UIDs since the last call, and begin both anew."""
        counts, self.counts = self.counts, Counts()
        return counts, self.references.take_all()


@dataclass(frozen=True)
class ScannedHeader:
    """Whose header was read: the file, and the UIDs that it bears. Identified: memory only.

    ``size`` is the file's in bytes, ``pixels`` how many of it are to be read for text.
    """

    path: Path
    study_uid: str
    sop_uid: str
    size: int = 0
    pixels: int = 0


def scan(
    sources: Iterable[Path], profile: Profile
) -> dict[str, tuple[Identity, list[ScannedHeader]]]:
    """Read what identifies in the headers of files, apart by original StudyInstanceUID.

    Files that cannot be read are passed over: of those there is no result to check.
    """
    found: dict[str, tuple[Identity, list[ScannedHeader]]] = {}
    for path in sources:
        try:
            header = read_header(path)
        except Exception:  # whatever it is, the anonymiser says so of the one file
            continue
        seen = ScannedHeader(
            path,
            _uid(header, 0x0020000D),
            _uid(header, 0x00080018),
            header.size,
            pixel_text.pixels_to_read(header, profile.pixels.look),
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
        raise HeldError("not-clean", f"the {which} cannot be read back: {error}") from None
    except OSError:
        raise
    except Exception as error:  # what it says may quote a value
        kind = type(error).__name__
        raise HeldError("not-clean", f"the {which} cannot be read back ({kind})") from None


def check_file(source: Path, result: Path, profile: Profile) -> Counts:
    """Check one file by itself; see `Checker.check`."""
    checker = Checker(profile)
    checker.check(source, result)
    return checker.counts
