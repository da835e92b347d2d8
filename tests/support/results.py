"""Results as research software makes them, of images as the grid gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
from highdicom.sr.coding import CodedConcept
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from support.dicom import ct

MAKER, MODEL, VERSION = "Grid Lab", "nodule-net", "2.1"
_MAKER = {
    "manufacturer": MAKER,
    "manufacturer_model_name": MODEL,
    "software_versions": VERSION,
    "device_serial_number": "1",
}


def volume(folder: Path, study: str, slices: int = 3, **given: str) -> list[Path]:
    """Write a CT volume with its geometry, one series."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(slices):
        path = ct(folder / f"{study}.{number}.dcm", study, f"{study}.1.{number}", **given)
        ds = dcmread(path)
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = f"{study}.1", f"{study}.9"
        ds.InstanceNumber = number + 1
        ds.ImagePositionPatient = [0, 0, 5 * number]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [1, 1], 5
        ds.PositionReferenceIndicator = ""
        ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
        ds.PixelData = _slice(number).tobytes()
        ds.save_as(path)
        paths.append(path)
    return paths


def _slice(number: int) -> np.ndarray:
    rows, columns = np.mgrid[:32, :32]
    inside = (rows - 16) ** 2 + (columns - 16) ** 2 < 144
    return (inside * (800 + 50 * number)).astype(np.uint16)


def _mask(images: Sequence[Dataset]) -> np.ndarray:
    mask = np.zeros((len(images), images[0].Rows, images[0].Columns), np.uint8)
    mask[:, 12:20, 12:20] = 1
    return mask


def segmentation(images: Sequence[Dataset]) -> Dataset:
    """A SEG with one segment over all of the images."""
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Nodule",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Nodule,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=MODEL, version=VERSION, family=codes.DCM.ArtificialIntelligence
        ),
    )
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=_mask(images),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        **_MAKER,
    )


def report(images: Sequence[Dataset]) -> Dataset:
    """An SR by TID 1500 with a measurement of a region in one image."""
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(), model_name=MODEL
        ),
    )
    region = hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.CIRCLE,
        graphic_data=np.array([[16.0, 16.0], [20.0, 16.0]]),
        source_image=hd.sr.SourceImageForRegion.from_source_image(images[0]),
    )
    group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=generate_uid(), identifier="nodule 1"),
        referenced_region=region,
        finding_type=codes.SCT.Nodule,
        measurements=[
            hd.sr.Measurement(
                name=CodedConcept("103339001", "SCT", "Long axis"),
                value=8.0,
                unit=codes.UCUM.Millimeter,
            )
        ],
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[group],
    )
    return hd.sr.Comprehensive3DSR(
        evidence=list(images[:1]),
        content=content[0],
        series_number=101,
        series_instance_uid=generate_uid(),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        is_complete=True,
        manufacturer=MAKER,
        manufacturer_model_name=MODEL,
        software_versions=VERSION,
    )


def parametric_map(images: Sequence[Dataset]) -> Dataset:
    """A parametric map of floating point values."""
    shape = (len(images), images[0].Rows, images[0].Columns)
    values = np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="p",
        lut_explanation="probability",
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        intercept=0,
        slope=1,
    )
    return hd.pm.ParametricMap(
        source_images=images,
        pixel_array=values,
        series_instance_uid=generate_uid(),
        series_number=102,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1)],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **_MAKER,
    )


def presentation_state(images: Sequence[Dataset]) -> Dataset:
    """A grayscale softcopy presentation state with another window."""
    return hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=images,
        series_instance_uid=generate_uid(),
        series_number=103,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        content_label="WINDOW",
        voi_lut_transformations=[
            hd.pr.SoftcopyVOILUTTransformation(window_center=40, window_width=400)
        ],
        **_MAKER,
    )


def structure_set(images: Sequence[Dataset]) -> Dataset:
    """An RT structure set with one contour on the first image."""
    first = images[0]
    ds = _derived(first, "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "NODULES", "", ""
    image = _item(
        ReferencedSOPClassUID=first.SOPClassUID, ReferencedSOPInstanceUID=first.SOPInstanceUID
    )
    series = _item(SeriesInstanceUID=first.SeriesInstanceUID, ContourImageSequence=[image])
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    ds.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    ]
    ds.StructureSetROISequence = [
        _item(
            ROINumber=1,
            ReferencedFrameOfReferenceUID=first.FrameOfReferenceUID,
            ROIName="Nodule",
            ROIGenerationAlgorithm="AUTOMATIC",
        )
    ]
    contour = _item(
        ContourImageSequence=[image],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=3,
        ContourData=[1, 1, 0, 5, 1, 0, 5, 5, 0],
    )
    ds.ROIContourSequence = [_item(ReferencedROINumber=1, ContourSequence=[contour])]
    ds.RTROIObservationsSequence = [
        _item(
            ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="", ROIInterpreter=""
        )
    ]
    return ds


def derived_image(images: Sequence[Dataset]) -> Dataset:
    """A CT image computed from another one."""
    first = images[0]
    ds = _derived(first, first.SOPClassUID, "CT")
    ds.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    ds.SourceImageSequence = [
        _item(
            ReferencedSOPClassUID=first.SOPClassUID, ReferencedSOPInstanceUID=first.SOPInstanceUID
        )
    ]
    for keyword in (
        "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
        "BitsStored", "HighBit", "PixelRepresentation", "FrameOfReferenceUID",
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    ):  # fmt: skip
        setattr(ds, keyword, first.get(keyword))
    ds.PixelData = first.PixelData[::-1]
    return ds


def _derived(first: Dataset, sop_class: str, modality: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    for keyword in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
        "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName",
    ):  # fmt: skip
        setattr(ds, keyword, first.get(keyword, ""))
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = generate_uid(), 104, 1
    ds.Modality, ds.Manufacturer, ds.SoftwareVersions = modality, MAKER, VERSION
    ds.ManufacturerModelName = MODEL
    return ds


def _item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


ALL = {
    "segmentation": segmentation,
    "report": report,
    "parametric map": parametric_map,
    "presentation state": presentation_state,
    "structure set": structure_set,
    "derived image": derived_image,
}
