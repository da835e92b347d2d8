"""One stack for every test of this folder: it takes half a minute to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom import dcmread

from dicom import ct
from pacsgrid.embedded.stack import Stack
from pacsgrid.pipeline import Line


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("e2e") / "stack", say=print) as stack:
        yield stack


def two_studies(stack: Stack, root: str) -> None:
    """Ingest a good study, `root`.1, and one that two patients share, `root`.2."""
    for n, patient in enumerate(("Good^One", "Zrzavá^Kvido", "Other^Person"), 1):
        study = f"{root}.1" if n == 1 else f"{root}.2"
        person = f"7562{root[-2:]}/1234"  # a withdrawal takes all of a person's studies
        ct(stack.drop / f"{root}.{n}.dcm", study, f"{study}.{n}", patient, n, person)
    last = stack.drop / f"{root}.3.dcm"
    other = dcmread(last)
    other.PatientID = "somebody else"
    other.save_as(last)
    assert stack.watch(stack.trigger({"source": "drop", "project": "demo"})) == "success"


def held_of(stack: Stack, root: str) -> str:
    """Return the reference of the study that two patients share."""
    with Line(stack.site, "demo") as line:
        return line.pseudonyms.reference("drop", f"{root}.2")


@pytest.fixture(scope="session")
def filled(stack: Stack) -> Stack:
    """The stack after an ingest with one good study and one that two patients share."""
    two_studies(stack, "1.2.826.77")
    return stack


@pytest.fixture(scope="session")
def held(filled: Stack) -> str:
    """The reference of the study that is held with its files."""
    return held_of(filled, "1.2.826.77")


@pytest.fixture(scope="session")
def spent(filled: Stack) -> str:
    """Two more such studies, whose good one is withdrawn and held one rejected: their root UID."""
    two_studies(filled, "1.2.826.78")
    return "1.2.826.78"


@pytest.fixture
def spent_held(filled: Stack, spent: str) -> str:
    """The reference of their held study."""
    return held_of(filled, spent)
