"""The attributes that a study's manifest holds, by level, as keywords of PS3.6.

Queries of each level may ask for them and return them (PS3.4 C.6.2.1, PS3.18 10.6.3.3), viewers
need them before they fetch an image, and cohorts are chosen by them.
"""

from __future__ import annotations

_STUDY = """
    StudyDate StudyTime AccessionNumber ReferringPhysicianName StudyDescription
    TimezoneOffsetFromUTC PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex
    PatientAge PatientSize PatientWeight PatientIdentityRemoved DeidentificationMethod
    StudyInstanceUID StudyID InstitutionName ProcedureCodeSequence
"""
_SERIES = """
    SeriesDate SeriesTime Modality Manufacturer ManufacturerModelName StationName
    SeriesDescription BodyPartExamined Laterality ProtocolName PatientPosition
    SeriesInstanceUID SeriesNumber FrameOfReferenceUID
    PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    PerformedProcedureStepDescription RequestAttributesSequence
"""
_INSTANCE = """
    ImageType InstanceCreationDate InstanceCreationTime SOPClassUID SOPInstanceUID
    AcquisitionDate AcquisitionTime AcquisitionDateTime ContentDate ContentTime ContentLabel
    ContentDescription AcquisitionNumber InstanceNumber ImagePositionPatient
    ImageOrientationPatient SliceLocation SliceThickness PixelSpacing ImageLaterality
    ImageComments SamplesPerPixel PhotometricInterpretation NumberOfFrames Rows Columns
    BitsAllocated BitsStored PixelRepresentation WindowCenter WindowWidth RescaleIntercept
    RescaleSlope ConceptNameCodeSequence CompletionFlag VerificationFlag DocumentTitle
    ContrastBolusAgent KVP ConvolutionKernel MagneticFieldStrength
"""

STUDY, SERIES, INSTANCE = _STUDY.split(), _SERIES.split(), _INSTANCE.split()
