"""The gateway's DICOM node: C-FIND, C-GET and C-MOVE as SCP (PS3.4 annex C)."""
