"""Conversations of DICOM peers, damaged in every way, against receiver and gateway."""
