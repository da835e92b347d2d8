"""Headers as makers write them: one object of each kind, with private elements that name people."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pydicom.dataset import Dataset

from .base import Base
from .images import pixels
from .people import Person

_CLASS = "1.2.840.10008.5.1.4.1.1."


@dataclass(frozen=True)
class Device:
    """One maker's device: what its headers hold, and which of its private elements name people."""

    sop_class: str
    modality: str
    maker: str
    model: str
    software: str
    kept: dict[str, Any]
    creator: str = ""
    group: int = 0x0029
    items: dict[str, dict[str, Any]] = field(default_factory=dict)


DEVICES = (
    Device("4", "MR", "SIEMENS", "Prisma_fit", "syngo MR E11", {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "ECHO_00", "MOSAIC"], "EchoTime": "30",
        "SequenceName": "epfid2d1_64", "ScanningSequence": "EP", "SequenceVariant": "SK",
        "ScanOptions": "FS", "RepetitionTime": "2000", "FlipAngle": "90", "PatientPosition": "HFS",
        "MRAcquisitionType": "2D", "ImagingFrequency": "123.25", "NumberOfAverages": "1",
        "InPlanePhaseEncodingDirection": "COL", "TransmitCoilName": "Body",
    }, "SIEMENS CSA HEADER"),
    Device("4", "MR", "GE MEDICAL SYSTEMS", "DISCOVERY MR750", "27\\LX\\MR Software release", {
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], "ScanningSequence": "EP", "EchoTime": "30",
        "ScanOptions": ["SAT_GEMS", "EPI_GEMS", "HYPERBAND_GEMS", "PFF"], "SequenceVariant": "SS",
        "BodyPartExamined": "HEAD", "PulseSequenceName": "epiRT", "EchoTrainLength": "1",
    }, "GEMS_IDEN_01", 0x0009),
    Device("4", "MR", "Philips Medical Systems", "Achieva", "5.3.0\\5.3.0.3", {
        "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"], "SequenceVariant": "OTHER",
        "SoftwareVersions": ["5.3.0", "5.3.0.3"], "ScanningSequence": "GR", "FlipAngle": "70",
        "ParallelReductionFactorInPlane": 2.0, "ReceiveCoilName": "MULTI COIL",
    }, "Philips Imaging DD 005", 0x2005),
    Device("4", "MR", "UIH", "uMR 790", "R003", {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "VFRAME"], "ScanningSequence": "GR",
        "ParallelAcquisitionTechnique": "UCS", "CoverageOfKSpace": "ELLIPTICAL",
    }, "Image Private Header", 0x0065),
    Device("2", "CT", "TOSHIBA", "Aquilion ONE", "V8.30", {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "KVP": "120", "ExposureModulationType":
        "Z MODULATION", "ScanOptions": "HELICAL_CT", "ConvolutionKernel": "FC08",
        "FilterType": "LARGE", "DataCollectionDiameter": "320", "RotationDirection": "CW",
        "ReconstructionDiameter": "320", "GantryDetectorTilt": "0", "FocalSpots": "1.6",
    }, "TOSHIBA_MEC_CT3", 0x7005),
    Device("128", "PT", "GE MEDICAL SYSTEMS", "Discovery 690", "pet_coreload.44", {
        "ImageType": ["ORIGINAL", "PRIMARY"], "Units": "BQML", "DecayCorrection": "START",
        "SeriesType": ["WHOLE BODY", "IMAGE"], "CorrectedImage": ["DECY", "ATTN", "SCAT", "DTIM"],
        "PatientWeight": "2.4", "ReconstructionMethod": "VPFX", "CountsSource": "EMISSION",
        "CollimatorType": "NONE", "RandomsCorrectionMethod": "SING", "SliceSensitivityFactor": "1",
    }, "GEMS_PETD_01", 0x0009, {"RadiopharmaceuticalInformationSequence": {
        "RadiopharmaceuticalStartTime": "090000", "RadionuclideTotalDose": "370000000",
        "RadionuclideHalfLife": "6586.2",
    }}),
    Device("6.1", "US", "Philips Medical Systems", "EPIQ 7C", "EPIQ_5.0.1", {
        "ImageType": ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"], "TransducerFrequency": 5000,
        "TransducerType": "CURVED LINEAR", "MechanicalIndex": "1.2", "HeartRate": "72",
    }, "Philips US Private 3", 0x200D),
    Device("1.2", "MG", "HOLOGIC, Inc.", "Selenia Dimensions", "1.8.3.63", {
        "ImageType": ["DERIVED", "PRIMARY"], "ViewPosition": "MLO", "ImageLaterality": "L",
        "BodyPartExamined": "BREAST", "PresentationIntentType": "FOR PRESENTATION", "KVP": "29",
        "SoftwareVersions": "1.8.3.63", "AnodeTargetMaterial": "TUNGSTEN", "Grid": "HTC_IPC",
        "BreastImplantPresent": "NO", "PartialView": "NO", "CompressionForce": "90",
        "FieldOfViewShape": "RECTANGLE", "ExposureControlMode": "AUTOMATIC",
    }, "LORAD Selenia", 0x0019),
    Device("481.2", "RTDOSE", "Varian Medical Systems", "ARIA RadOnc", "15.6.8", {
        "DoseUnits": "GY", "DoseType": "PHYSICAL", "DoseSummationType": "PLAN",
        "DoseGridScaling": "0.00001", "TissueHeterogeneityCorrection": ["IMAGE", "ROI_OVERRIDE"],
    }, "Varian Medical Systems VISION 3253", 0x3253),
    Device("481.5", "RTPLAN", "Elekta", "Monaco", "5.51.10", {
        "RTPlanGeometry": "PATIENT", "PlanIntent": "CURATIVE", "ApprovalStatus": "APPROVED",
    }, "Elekta Monaco", 0x300B, {"DoseReferenceSequence": {
        "DoseReferenceNumber": "1", "DoseReferenceStructureType": "SITE",
        "DoseReferenceType": "TARGET", "TargetPrescriptionDose": "60",
    }}),
    Device("77.1.6", "SM", "Leica Biosystems", "Aperio GT450", "1.0.1.5064", {
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "VolumetricProperties": "VOLUME",
        "SpecimenLabelInImage": "NO", "FocusMethod": "AUTO", "ExtendedDepthOfField": "NO",
        "DimensionOrganizationType": "TILED_FULL",
    }, "Aperio Private", 0x2201),
    Device("4.1", "MR", "SIEMENS", "MAGNETOM Vida", "syngo MR XA30", {
        "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"], "PixelPresentation":
        "MONOCHROME", "VolumetricProperties": "VOLUME", "VolumeBasedCalculationTechnique": "NONE",
        "ComplexImageComponent": "MAGNITUDE", "AcquisitionContrast": "DIFFUSION",
        "ResonantNucleus": "1H", "KSpaceFiltering": "NONE", "MagneticFieldStrength": "3",
        "ApplicableSafetyStandardAgency": "IEC", "PulseSequenceName": "*ep_b1000t#1",
        "EchoPulseSequence": "SPIN", "SpectrallySelectedSuppression": "FAT",
    }, "SIEMENS MR SDI 02", 0x0021),
)  # fmt: skip
# Without pixels.
_NO_IMAGE = frozenset({"RTPLAN"})


class Vendors(Base):
    """One object of every device for each patient."""

    def _vendors(self, person: Person, day: date) -> None:
        for number, device in enumerate(DEVICES):
            common = (person, day, self._new_uid(), f"ACC{8_000_000 + self._uid}")
            ds = self._base(_CLASS + device.sop_class, common, device.modality)
            name = self._name_of(ds)
            ds.Manufacturer, ds.ManufacturerModelName = device.maker, device.model
            ds.SoftwareVersions = device.software.split("\\")
            ds.AcquisitionDate, ds.AcquisitionTime = f"{day:%Y%m%d}", "101601"
            for keyword, value in device.kept.items():
                setattr(ds, keyword, value)
                rule = "present" if keyword == "PatientWeight" else "same"
                self.answers.add("tag retained", name, keyword, rule)
            for keyword, values in device.items.items():
                item = Dataset()
                for inner, value in values.items():
                    setattr(item, inner, value)
                    self.answers.add("tag retained", name, [keyword, 0, inner], "same")
                setattr(ds, keyword, [item])
            self.answers.add("tag retained", name, "SoftwareVersions", "same")
            self.answers.add("date shifted", name, "AcquisitionDate", "moved")
            self._private_names(ds, name, device, person, day)
            self._staff(ds, name, number)
            if device.modality not in _NO_IMAGE:
                bits = 8 if device.modality in ("US", "SM") else 16
                pixels(ds, self._random.randrange(2**31), 40, 40, bits)
                if device.modality in ("PT", "CT", "RTDOSE"):
                    ds.RescaleSlope, ds.RescaleIntercept = "1", "0"
            for keyword in ("StudyDescription", "SeriesDescription", "ImageComments"):
                self._text(ds, name, [keyword], person)
            self._file(ds, person)

    def _private_names(
        self, ds: Dataset, name: str, device: Device, person: Person, day: date
    ) -> None:
        """Add private elements that name the patient, none of which is on a list of safe ones."""
        block = ds.private_block(device.group, device.creator, create=True)
        block.add_new(0xE0, "LO", f"{person.given} {person.family}")
        block.add_new(0xE1, "LT", f"{person.family}^{person.given}")
        block.add_new(0xE2, "DA", f"{day:%Y%m%d}")
        block.add_new(0xE3, "OB", b"\0\1" + person.patient_id.encode() + b"\0")
        nested = Dataset()
        nested.PatientName, nested.PatientID = f"{person.family}^{person.given}", person.patient_id
        block.add_new(0xE4, "SQ", [nested])
        for low in range(0xE0, 0xE5):
            path = [(device.creator, device.group, low)]
            self.answers.add("private", name, path, "absent")

    def _staff(self, ds: Dataset, name: str, number: int) -> None:
        """Add people who are not the patient: staff, a relative, and a reader in a sequence."""
        reader = Dataset()
        reader.PersonIdentificationCodeSequence = []
        reader.InstitutionName = "Nemocnice U Lípy"
        ds.PhysiciansReadingStudyIdentificationSequence = [reader]
        people = {
            "PerformingPhysicianName": "Szabó^Réka", "NameOfPhysiciansReadingStudy": "Malik^Omar",
            "RequestingPhysician": "Fischer^Uwe", "PatientMotherBirthName": "Zelenková^Ema",
            "ResponsiblePerson": "Bartoš^Vít", "ScheduledPerformingPhysicianName": "Ito^Ken",
        }  # fmt: skip
        for keyword, value in people.items():
            setattr(ds, keyword, value)
            self.answers.add("text removed", name, keyword, "gone", value.split("^"))
        relatives = ("mother Ema Zelenkova present", "s panem Bartošem", "read by Omar Malik")
        told = ("Zelenkova", "Bartoš", "Malik")
        ds.DerivationDescription = f"Slab 5 mm, {relatives[number % 3]}"
        add = self.answers.add
        add("text removed", name, "DerivationDescription", "gone", [told[number % 3]])
        add("text retained", name, "DerivationDescription", "kept", "Slab 5 mm")
