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


@pytest.fixture(scope="session")
def filled(stack: Stack) -> Stack:
    """The stack after an ingest with one good study and one that two patients share."""
    for n, patient in enumerate(("Good^One", "Zrzavá^Kvido", "Other^Person"), 1):
        study = "1.2.826.77.1" if n == 1 else "1.2.826.77.2"
        ct(stack.drop / f"page{n}.dcm", study, f"{study}.{n}", patient, fill=n)
    other = dcmread(stack.drop / "page3.dcm")
    other.PatientID = "somebody else"
    other.save_as(stack.drop / "page3.dcm")
    assert stack.watch(stack.trigger({"source": "drop", "project": "demo"})) == "success"
    return stack


@pytest.fixture(scope="session")
def held(filled: Stack) -> str:
    """The reference of the study that is held with its files."""
    with Line(filled.site, "demo") as line:
        (ref,) = {row.ref for row in line.ledger.held("demo") if row.code == "patient-mismatch"}
    return ref
