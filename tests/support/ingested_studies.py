"""Studies that a running stack has ingested."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_file

from pacsgrid.embedded.stack import Stack
from pacsgrid.pipeline import ProjectContext
from support.dicom import ct


def two_studies(stack: Stack, root: str) -> None:
    """Ingest a good study, `root`.1, and one that two patients share, `root`.2."""
    # Both studies are of one person, whose study a file of another person has got into.
    for n, patient in enumerate(("Zrzavá^Kvido", "Zrzavá^Kvido", "Other^Person"), 1):
        study = f"{root}.1" if n == 1 else f"{root}.2"
        person = f"7562{root[-2:]}/1234"  # a withdrawal takes all of a person's studies
        path = ct(stack.drop / f"{root}.{n}.dcm", study, f"{study}.{n}", patient, n, person)
        if n > 1:  # a steward looks at it, and so do readers of the documentation
            _show_a_slice(path, number=n)
    last = stack.drop / f"{root}.3.dcm"
    other = dcmread(last)
    other.PatientID = "somebody else"
    other.save_as(last)
    assert stack.watch(stack.trigger({"source": "drop", "project": "demo"})) == "success"


def _show_a_slice(path: Path, number: int) -> None:
    """Give a file the pixels of pydicom's CT_small.dcm, turned so that each number's differ."""
    data, shown = dcmread(path), dcmread(get_testdata_file("CT_small.dcm"))
    data.Rows, data.Columns = shown.Rows, shown.Columns
    data.PixelRepresentation = shown.PixelRepresentation
    data.PixelData = shown.pixel_array[:, :: 1 if number % 2 else -1].tobytes()
    data.save_as(path)


def held_of(stack: Stack, root: str) -> str:
    """Return the reference of the study that two patients share."""
    with ProjectContext(stack.site, "demo") as context:
        return context.pseudonyms.reference("drop", f"{root}.2")
