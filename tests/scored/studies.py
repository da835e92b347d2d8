"""Studies with known answers: several patients, two studies each that refer to each other."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from pydicom.dataset import Dataset

from .derived import Derived
from .images import CT, MR
from .languages import Languages
from .people import MORE_PEOPLE, PEOPLE, Person
from .reports import Reports
from .vendors import Vendors
from .writings import Writings


class Studies(Writings, Languages, Vendors, Reports, Derived):
    """Writes the files of one benchmark below `root` and collects the right answers."""

    def __init__(self, root: Path, patients: int | None = None, seed: int = 7) -> None:
        super().__init__(root, seed)
        people = (*PEOPLE, *MORE_PEOPLE)[:patients]
        for number, person in enumerate(people):
            day = date(2023, 2, 1) + timedelta(days=self._random.randrange(600))
            first = self._study(person, day)
            self._study(person, day + timedelta(days=self._random.randrange(20, 300)), first)
            self._vendors(person, day + timedelta(days=11))
            self._languages(person, number)
        self._writings()

    def _study(
        self, person: Person, day: date, prior: list[Dataset] | None = None
    ) -> list[Dataset]:
        study, accession = self._new_uid(), f"ACC{self._random.randrange(10**6, 10**7)}"
        common = (person, day, study, accession)
        frame, images = self._new_uid(), []
        series = self._new_uid()
        for number in range(3):
            image = self._image(CT if prior is None else MR, common, series, number + 1)
            image.FrameOfReferenceUID = frame
            images.append(image)
        derived = images[1]
        item = Dataset()
        item.ReferencedSOPClassUID = images[0].SOPClassUID
        item.ReferencedSOPInstanceUID = images[0].SOPInstanceUID
        derived.ReferencedImageSequence = [item]
        for image in images:
            name = self._write(image, person)
            self._judge_image(name, image)
            for uid in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID",
                        "FrameOfReferenceUID"):  # fmt: skip
                self.answers.add("UID consistent", name, uid, "follows")
        self._references(
            self._name_of(derived), "ReferencedImageSequence", 0, "ReferencedSOPInstanceUID"
        )
        self._private(common, images[0])
        self._ultrasound(common)
        self._plain_xray(common)
        self._report(common, images + (prior or []))
        self._structures(common, images, frame)
        self._segmentation(common, images, frame)
        self._presentation(common, images)
        self._key_objects(common, images)
        return images
