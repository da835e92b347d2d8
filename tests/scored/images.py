"""Images of the benchmark: CT, MR, ultrasound with burned-in text, X-ray; private elements."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from .base import Base, Common
from .people import plain

CT, MR, US, CR = (
    "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.1",
)  # fmt: skip
BANNER = 24  # rows of burned-in text in an ultrasound frame


class Images(Base):
    """Objects with pixels."""

    def _image(self, sop_class: str, common: Common, series: str,
               number: int) -> Dataset:  # fmt: skip
        ds = self._base(sop_class, common, "CT" if sop_class == CT else "MR", series)
        day = common[1]
        ds.InstanceNumber, ds.AcquisitionNumber = number, 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.AcquisitionDate, ds.AcquisitionTime = f"{day:%Y%m%d}", f"1016{number:02d}"
        ds.AcquisitionDateTime = f"{day:%Y%m%d}1016{number:02d}.000000+0100"
        ds.SliceThickness, ds.PixelSpacing = "3.0", ["0.7", "0.7"]
        ds.ImagePositionPatient = ["-120", "-110", str(3 * number)]
        ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        ds.PatientPosition, ds.BodyPartExamined = "HFS", "ABDOMEN"
        ds.PatientWeight, ds.PatientSize = "72.5", "1.74"
        if sop_class == CT:
            ds.KVP, ds.XRayTubeCurrent, ds.ConvolutionKernel = "120", "210", "B30f"
            ds.RescaleSlope, ds.RescaleIntercept = "1", "-1024"
        else:
            ds.EchoTime, ds.RepetitionTime, ds.MagneticFieldStrength = "90", "4000", "3"
            ds.ScanningSequence, ds.SequenceName = "SE", "tse2d1_15"
        pixels(ds, self._random.randrange(2**31), 32, 32, 16)
        return ds

    def _judge_image(self, name: str, ds: Dataset) -> None:
        answers = self.answers
        kept = ["ImageType", "SliceThickness", "PixelSpacing", "ImagePositionPatient", "Rows",
                "ImageOrientationPatient", "PatientPosition", "BodyPartExamined", "Columns",
                "BitsAllocated", "PhotometricInterpretation", "AcquisitionTime", "KVP",
                "XRayTubeCurrent", "ConvolutionKernel", "RescaleSlope", "RescaleIntercept",
                "EchoTime", "RepetitionTime", "MagneticFieldStrength", "SequenceName",
                "SoftwareVersions"]  # fmt: skip
        for keyword in kept:
            if keyword in ds:
                answers.add("tag retained", name, keyword, "same")
        answers.add("date shifted", name, "AcquisitionDate", "moved")
        answers.add("date shifted", name, "AcquisitionDateTime", "moved")
        answers.add("pixels retained", name, "PixelData", "same_pixels")

    def _private(self, common: Common, like: Dataset) -> None:
        person, day, *_ = common
        ds = self._image(str(like.SOPClassUID), common, str(like.SeriesInstanceUID), 9)
        acme = ds.private_block(0x0009, "ACME 1.1", create=True)
        acme.add_new(0x01, "LO", f"{person.family} {person.given}")
        acme.add_new(0x02, "DS", "1.5")
        acme.add_new(0x03, "DA", f"{day:%Y%m%d}")
        pet = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        pet.add_new(0x00, "DS", "0.000512")
        pet.add_new(0x09, "DS", "1.25")
        pet.add_new(0x03, "LO", person.patient_id)
        mr = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        mr.add_new(0x0C, "IS", "1000")
        mr.add_new(0x0E, "FD", [0.5, 0.5, 0.70710678])
        mr.add_new(0x55, "LO", person.family)
        # The creator of another block in the same group: its elements are not the safe ones.
        other = ds.private_block(0x0019, "ACME 1.1", create=True)
        other.add_new(0x0C, "IS", "756203")
        name, add = self._write(ds, person), self.answers.add
        for creator, group, low in (("ACME 1.1", 9, 1), ("ACME 1.1", 9, 2), ("ACME 1.1", 9, 3),
                                    ("Philips PET Private Group", 0x7053, 3),
                                    ("SIEMENS MR HEADER", 0x19, 0x55),
                                    ("ACME 1.1", 0x19, 0x0C)):  # fmt: skip
            add("private", name, [(creator, group, low)], "absent")
        for creator, group, low in (("Philips PET Private Group", 0x7053, 0),
                                    ("Philips PET Private Group", 0x7053, 9),
                                    ("SIEMENS MR HEADER", 0x19, 0x0C),
                                    ("SIEMENS MR HEADER", 0x19, 0x0E)):  # fmt: skip
            add("private", name, [(creator, group, low)], "same")

    def _ultrasound(self, common: Common) -> None:
        person, day, *_ = common
        ds = self._base(US, common, "US")
        pixels(ds, self._random.randrange(2**31), 160, 240, 8)
        image = Image.frombytes("L", (240, 160), ds.PixelData)
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 0, 239, BANNER - 1), fill=0)
        draw.text((4, 4), f"{plain(person.family)} {day:%d.%m.%Y}", fill=255)
        ds.PixelData = image.tobytes()
        name = self._write(ds, person)
        self.answers.add("pixels hidden", name, "PixelData", "blank", BANNER)
        self.answers.add("pixels retained", name, "PixelData", "same_pixels", BANNER)

    def _plain_xray(self, common: Common) -> None:
        ds = self._base(CR, common, "CR")
        ds.ViewPosition, ds.BodyPartExamined = "PA", "CHEST"
        pixels(ds, self._random.randrange(2**31), 48, 48, 16)
        name = self._name_of(ds)
        request = Dataset()
        request.ScheduledProcedureStepID, request.RequestedProcedureID = "SPS-77120", "RP-77120"
        ds.RequestAttributesSequence = [request]
        self._text(
            ds,
            name,
            ["RequestAttributesSequence", 0, "ScheduledProcedureStepDescription"],
            common[0],
        )
        self._write(ds, common[0])
        for keyword in ("ScheduledProcedureStepID", "RequestedProcedureID"):
            self.answers.add(
                "text removed", name, ["RequestAttributesSequence", 0, keyword], "gone", ["77120"]
            )
        for keyword in ("ViewPosition", "BodyPartExamined"):
            self.answers.add("tag retained", name, keyword, "same")
        self.answers.add("pixels retained", name, "PixelData", "same_pixels")


def pixels(ds: Dataset, seed: int, rows: int, columns: int, bits: int) -> None:
    ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit, ds.PixelRepresentation = bits - 1, 0
    kind = np.uint16 if bits == 16 else np.uint8
    values = np.random.default_rng(seed).integers(1, 200, (rows, columns)).astype(kind)
    ds.PixelData = values.tobytes()
