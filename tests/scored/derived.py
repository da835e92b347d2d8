"""Objects of the benchmark that are made from images: RTSTRUCT, SEG and presentation state."""

from __future__ import annotations

from pydicom.dataset import Dataset

from .base import Base, Common
from .reports import code, reference

RTSTRUCT, SEG, PR = (
    "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.11.1",
)  # fmt: skip


class Derived(Base):
    """Objects whose every reference has to find its image again."""

    def _structures(self, common: Common, images: list[Dataset],
                    frame: str) -> None:  # fmt: skip
        ds = self._base(RTSTRUCT, common, "RTSTRUCT")
        name = self._name_of(ds)
        ds.StructureSetLabel, ds.StructureSetDate = "Plan1", ds.StudyDate
        ds.StructureSetTime = "120000"
        referenced, study, series = Dataset(), Dataset(), Dataset()
        series.SeriesInstanceUID = images[0].SeriesInstanceUID
        series.ContourImageSequence = [reference(image) for image in images]
        study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
        study.ReferencedSOPInstanceUID = images[0].StudyInstanceUID
        study.RTReferencedSeriesSequence = [series]
        referenced.FrameOfReferenceUID = frame
        referenced.RTReferencedStudySequence = [study]
        ds.ReferencedFrameOfReferenceSequence = [referenced]
        roi, contour, line = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ReferencedFrameOfReferenceUID = 1, frame
        roi.ROIName, roi.ROIGenerationAlgorithm = "GTV liver", "MANUAL"
        ds.StructureSetROISequence = [roi]
        line.ContourImageSequence = [reference(images[0])]
        line.ContourGeometricType, line.NumberOfContourPoints = "CLOSED_PLANAR", 3
        line.ContourData = ["0", "0", "3", "1", "0", "3", "1", "1", "3"]
        contour.ReferencedROINumber, contour.ContourSequence = 1, [line]
        ds.ROIContourSequence = [contour]
        observation = Dataset()
        observation.ObservationNumber = observation.ReferencedROINumber = 1
        observation.RTROIInterpretedType, observation.ROIInterpreter = "GTV", "Dvořák^Jiří"
        ds.RTROIObservationsSequence = [observation]
        self._write(ds, common[0])
        top, study_path = "ReferencedFrameOfReferenceSequence", "RTReferencedStudySequence"
        inside = (top, 0, study_path, 0, "RTReferencedSeriesSequence", 0)
        self._references(name, top, 0, "FrameOfReferenceUID")
        self._references(name, top, 0, study_path, 0, "ReferencedSOPInstanceUID")
        self._references(name, *inside, "SeriesInstanceUID")
        for number in range(len(images)):
            self._references(
                name, *inside, "ContourImageSequence", number, "ReferencedSOPInstanceUID"
            )
        self._references(name, "StructureSetROISequence", 0, "ReferencedFrameOfReferenceUID")
        line_path = ["ROIContourSequence", 0, "ContourSequence", 0]
        self._references(name, *line_path, "ContourImageSequence", 0, "ReferencedSOPInstanceUID")
        add = self.answers.add
        add("tag retained", name, [*line_path, "ContourData"], "same")
        add("tag retained", name, ["StructureSetROISequence", 0, "ROIName"], "same")
        add("tag retained", name, "StructureSetLabel", "same")
        add("date shifted", name, "StructureSetDate", "moved")
        add("text removed", name, ["RTROIObservationsSequence", 0, "ROIInterpreter"], "gone",
            ["Dvořák", "Jiří"])  # fmt: skip

    def _segmentation(self, common: Common, images: list[Dataset],
                      frame: str) -> None:  # fmt: skip
        ds = self._base(SEG, common, "SEG")
        name = self._name_of(ds)
        ds.FrameOfReferenceUID = frame
        ds.ContentLabel, ds.ContentCreatorName = "LIVER", "Horká^Alena"
        ds.SegmentationType, ds.NumberOfFrames = "BINARY", 3
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = 1, "Liver"
        segment.SegmentAlgorithmType = "MANUAL"
        segment.SegmentedPropertyCategoryCodeSequence = [
            code("123037004", "SCT", "Anatomical Structure")
        ]
        segment.SegmentedPropertyTypeCodeSequence = [code("10200004", "SCT", "Liver")]
        ds.SegmentSequence = [segment]
        series = Dataset()
        series.SeriesInstanceUID = images[0].SeriesInstanceUID
        series.ReferencedInstanceSequence = [reference(image) for image in images]
        ds.ReferencedSeriesSequence = [series]
        frames = []
        for image in images:
            item, derivation, source = Dataset(), Dataset(), reference(image)
            derivation.SourceImageSequence = [source]
            derivation.DerivationCodeSequence = [code("113076", "DCM", "Segmentation")]
            item.DerivationImageSequence = [derivation]
            frames.append(item)
        ds.PerFrameFunctionalGroupsSequence = frames
        ds.Rows = ds.Columns = 32
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 1
        ds.HighBit = ds.PixelRepresentation = 0
        ds.PixelData = self._random.randbytes(3 * 32 * 32 // 8)
        self._write(ds, common[0])
        self._references(name, "FrameOfReferenceUID")
        self._references(name, "ReferencedSeriesSequence", 0, "SeriesInstanceUID")
        for number in range(len(images)):
            self._references(name, "ReferencedSeriesSequence", 0, "ReferencedInstanceSequence",
                             number, "ReferencedSOPInstanceUID")  # fmt: skip
            self._references(name, "PerFrameFunctionalGroupsSequence", number,
                             "DerivationImageSequence", 0, "SourceImageSequence", 0,
                             "ReferencedSOPInstanceUID")  # fmt: skip
        add = self.answers.add
        add("text removed", name, "ContentCreatorName", "gone", ["Horká", "Alena"])
        for keyword in ("SegmentLabel", "SegmentAlgorithmType", "SegmentNumber"):
            add("tag retained", name, ["SegmentSequence", 0, keyword], "same")
        for keyword in ("CodeValue", "CodeMeaning"):
            kind = ["SegmentSequence", 0, "SegmentedPropertyTypeCodeSequence", 0, keyword]
            add("tag retained", name, kind, "same")
        add("pixels retained", name, "PixelData", "same_pixels")

    def _presentation(self, common: Common, images: list[Dataset]) -> None:
        ds = self._base(PR, common, "PR")
        name = self._name_of(ds)
        ds.ContentLabel, ds.ContentDescription = "LESION", ""
        ds.ContentCreatorName = "Horká^Alena"
        ds.PresentationCreationDate, ds.PresentationCreationTime = ds.StudyDate, "130000"
        series = Dataset()
        series.SeriesInstanceUID = images[0].SeriesInstanceUID
        series.ReferencedImageSequence = [reference(image) for image in images]
        ds.ReferencedSeriesSequence = [series]
        annotation, text, graphic = Dataset(), Dataset(), Dataset()
        annotation.GraphicLayer = "ANNOTATIONS"
        annotation.ReferencedImageSequence = [reference(images[0])]
        annotation.TextObjectSequence = [text]
        graphic.GraphicAnnotationUnits, graphic.GraphicDimensions = "PIXEL", 2
        graphic.NumberOfGraphicPoints, graphic.GraphicData = 2, [1.0, 2.0, 3.0, 4.0]
        graphic.GraphicType, graphic.GraphicFilled = "POLYLINE", "N"
        annotation.GraphicObjectSequence = [graphic]
        ds.GraphicAnnotationSequence = [annotation]
        where = ["GraphicAnnotationSequence", 0, "TextObjectSequence", 0, "UnformattedTextValue"]
        self._text(ds, name, where, common[0])
        self._write(ds, common[0])
        self._references(name, "ReferencedSeriesSequence", 0, "SeriesInstanceUID")
        for number in range(len(images)):
            self._references(name, "ReferencedSeriesSequence", 0, "ReferencedImageSequence", number,
                             "ReferencedSOPInstanceUID")  # fmt: skip
        self._references(name, "GraphicAnnotationSequence", 0, "ReferencedImageSequence", 0,
                         "ReferencedSOPInstanceUID")  # fmt: skip
        add = self.answers.add
        add("date shifted", name, "PresentationCreationDate", "moved")
        line = ["GraphicAnnotationSequence", 0, "GraphicObjectSequence", 0, "GraphicData"]
        add("tag retained", name, line, "same")
        add("text removed", name, "ContentCreatorName", "gone", ["Horká", "Alena"])
