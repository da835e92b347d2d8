"""Attributes that a valid object cannot be without, as the modules of PS3.3 state them."""

from __future__ import annotations

# Type 1: present with a value. Common to every IOD that has the module.
TYPE_1 = frozenset(
    (
        0x00080016, 0x00080018,  # SOP Common, C.12.1
        0x0020000D, 0x0020000E, 0x00080060,  # General Study and Series, C.7.2.1, C.7.3.1
        0x00200052,  # Frame of Reference, C.7.4.1
        0x00280002, 0x00280004, 0x00280010, 0x00280011,  # Image Pixel, C.7.6.3
        0x00280100, 0x00280101, 0x00280102, 0x00280103,
        0x00200032, 0x00200037, 0x00280030,  # Image Plane, C.7.6.2
        0x00080008,  # Image type: CT, MR, PT, US and enhanced images
        0x00281052, 0x00281053,  # Modality LUT and CT Image, C.8.2.1
        0x00280008,  # Multi-frame, C.7.6.6
        0x00541001,  # PET Series: Units, C.8.9.1
        0x30060002, 0x300A0002,  # RT structure set and plan labels, C.8.8.5, C.8.8.9
        0x0040A040, 0x0040A491, 0x0040A493,  # SR Document, C.17.2, C.17.3
        0x00700080,  # Presentation and content label, C.11.10
        0x00620001,  # Segmentation type, C.8.20.2
    )
)  # fmt: skip
# Type 2: present, empty when it must be.
TYPE_2 = frozenset(
    (
        0x00100010, 0x00100020, 0x00100030, 0x00100040,  # Patient, C.7.1.1
        0x00080020, 0x00080030, 0x00080050, 0x00080090, 0x00200010,  # General Study, C.7.2.1
        0x00200011,  # General Series, C.7.3.1
        0x00200013,  # General Image, C.7.6.1
        0x00080070,  # General Equipment, C.7.5.1
        0x00201040,  # Frame of Reference, C.7.4.1
        0x00180050, 0x00180060, 0x00200012,  # Image Plane, CT Image
        0x30060008, 0x30060009,  # Structure Set, C.8.8.5
    )
)  # fmt: skip
# Type 1 in the items that have them: an item without them refers to nothing, or is none.
TYPE_1_IN_ITEMS = frozenset(
    (
        0x00081150, 0x00081155,  # SOP Instance Reference, 10.8
        0x0020000D, 0x0020000E,  # Hierarchical references, C.17.2.1
        0x00080100, 0x00080102, 0x00080104,  # Coded entries, 8.8
        0x0040A040, 0x0040A010,  # SR content items, C.17.3.2
        0x30060022, 0x30060024, 0x30060084, 0x30060042,  # ROI, contours, C.8.8.5, C.8.8.6
        0x00620004,  # Segment number
    )
)  # fmt: skip
