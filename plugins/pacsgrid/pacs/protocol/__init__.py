"""The DICOM upper layer and DIMSE messages as receiver, retrieval and gateway speak them."""
