"""A release as NIfTI in the Brain Imaging Data Structure (BIDS), beside its DICOM files."""

from pacsgrid.pipeline.bids.copies import replicate
from pacsgrid.pipeline.bids.derive import Derivative, convert_studies, finish, open_derivative

__all__ = ["Derivative", "convert_studies", "finish", "open_derivative", "replicate"]
