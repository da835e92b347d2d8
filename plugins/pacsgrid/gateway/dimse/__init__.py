"""The gateway as a DICOM node: C-ECHO, C-FIND, C-GET and C-MOVE (PS3.4 annexes A and C)."""
