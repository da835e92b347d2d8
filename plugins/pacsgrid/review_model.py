"""What stewards decide about held files, as every package knows it: values without side effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

Verdict = Literal["approve", "blank", "reject", "again"]

REJECTED = "rejected"
"""The code of a file or study that a steward rejected."""
APPROVABLE = frozenset(
    {"modality-held", "burned-in", "secondary-capture", "photograph", "label", "face"}
)
"""Reasons that ask a steward to look at the image: who has looked may approve it.

A document is none of them, since nobody sees its pages here. No refusal of the checker is: what it
finds has to go before anything leaves.
"""
BLANKABLE = APPROVABLE | {"pixels-text"}
"""Reasons that blanking regions can remove."""


@dataclass(frozen=True)
class ImageTraits:
    """What images of one kind have in common; an empty value of a rule matches any.

    Attributes
    ----------
    manufacturer, model, description
        Manufacturer (0008,0070), ManufacturerModelName (0008,1090) and SeriesDescription
        (0008,103E) where nothing in them identifies; otherwise ``#`` and a hash with the project's
        key, which tells equal texts and nothing else.
    modality, sop_class
        Modality (0008,0060) and SOPClassUID (0008,0016).
    rows, columns
        Size of the image in pixels, 0 without one.
    """

    manufacturer: str = ""
    model: str = ""
    modality: str = ""
    sop_class: str = ""
    description: str = ""
    rows: int = 0
    columns: int = 0

    def matches(self, image: ImageTraits) -> bool:
        """Return whether an image has every trait that these demand."""
        return all(
            not wanted or wanted == getattr(image, name) for name, wanted in vars(self).items()
        )


ANY_IMAGE = ImageTraits()
"""No traits: what a rule for every image demands, and what is known of no image."""


@dataclass(frozen=True)
class HeldImage:
    """What a held file's header tells of it, free of identifying values.

    Attributes
    ----------
    traits
        What it has in common with others.
    series
        The pseudonym of its SeriesInstanceUID; empty without one.
    frames
        How many frames it has.
    """

    traits: ImageTraits = ANY_IMAGE
    series: str = ""
    frames: int = 0


NO_IMAGE = HeldImage()
"""What is known of a file whose header cannot be read."""


@dataclass(frozen=True)
class BlankRegion:
    """A rectangle that a steward drew, in pixels; right and bottom are excluded.

    Attributes
    ----------
    frame
        The number of the one frame it is for, from 0; None for every frame.
    """

    left: int
    top: int
    right: int
    bottom: int
    frame: int | None = None

    def as_json(self) -> dict[str, int | None]:
        """Return the fields as they are stored."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return the region that `as_json` was called on."""
        return cls(**fields)


@dataclass(frozen=True)
class Ruling:
    """A steward's decision in force: about files, or about every image with some traits.

    Attributes
    ----------
    number
        The decision's number in the ledger.
    verdict
        ``approve``, ``blank`` or ``reject``.
    codes
        The reasons that it overrules, or rejects files for.
    traits
        The traits of a rule.
    regions
        What is blanked.
    """

    number: int
    verdict: Verdict
    codes: frozenset[str]
    traits: ImageTraits = ANY_IMAGE
    regions: tuple[BlankRegion, ...] = ()


@dataclass(frozen=True)
class FileRulings:
    """The rulings that apply to one file.

    Attributes
    ----------
    rulings
        Those about this very file come first.
    """

    rulings: tuple[Ruling, ...] = ()
    regions: tuple[BlankRegion, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the regions of all rulings."""
        regions = dict.fromkeys(region for one in self.rulings for region in one.regions)
        object.__setattr__(self, "regions", tuple(regions))

    @property
    def blanking(self) -> tuple[int, ...]:
        """The numbers of the rulings that blank regions."""
        return tuple(one.number for one in self.rulings if one.regions)

    def about(self, code: str) -> Ruling | None:
        """Return the ruling that decides about a reason; None leaves the file held."""
        return next((one for one in self.rulings if code in one.codes), None)
