"""DICOM out of the grid: what researchers may read in iRODS, asked for as from a PACS."""
