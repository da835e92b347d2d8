"""Instances' attributes in the DICOM JSON model, bulk data by its address (PS3.18 F.2.6)."""

from __future__ import annotations

import json
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any, BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pacsgrid.gateway.file_cache import FileCache
from pacsgrid.gateway.index import Index
from pacsgrid.gateway.object_reader import SMALL, ObjectReader, StoredInstance
from pacsgrid.gateway.transcode import UndecodableError, inflated
from pacsgrid.pipeline import dicom_json
from pacsgrid.pipeline.attributes import AVAILABLE_SYNTAX, Json

# Values of these representations that are longer are given by their address.
_BULK = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
_LONGEST = 1024
_PIXELS = 0x7FE00000
# What a bulk data address names in its instance.
PATH = re.compile(r"[0-9A-Fa-f]{8}(\.[0-9]{1,6}\.[0-9A-Fa-f]{8}){0,32}")
# Stands for the instance's bulk data until its address is known; no value can contain it,
# as quotes in values are escaped.
_MARK = '"BulkDataURI":"'


def metadata(
    index: Index,
    objects: ObjectReader,
    cache: FileCache,
    instances: Sequence[StoredInstance],
    address: str,
) -> Iterator[str]:
    """Yield each instance's attributes as JSON text; headers that were read once are kept.

    Parameters
    ----------
    address
        The URL of the DICOMweb service.
    """
    kept: dict[str, bytes] = {}
    lacking = []
    for one in instances:
        content = index.metadata(one.sha256)
        if content is None:
            lacking.append(one)
        else:
            kept[one.sha256] = content
    fresh = objects.many(one for one in lacking if one.size <= SMALL)
    new: dict[str, bytes] = {}
    try:
        for one in instances:
            content = kept.get(one.sha256)
            if content is None:
                if one.size > SMALL:
                    with cache.open(one) as file:
                        content = _packed(file)
                else:
                    content = _packed(BytesIO(b"".join(next(fresh)[1])))
                new[one.sha256] = content
            yield _addressed(content, one, address)
    finally:
        if new:
            index.keep_metadata(new)


def _addressed(content: bytes, one: StoredInstance, address: str) -> str:
    place = f"{address}/studies/{one.study}/series/{one.series}/instances/{one.sop}/bulkdata/"
    return zlib.decompress(content).decode().replace(_MARK, _MARK + place)


def _packed(file: BinaryIO) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = inflated(file, stop_before_pixels=True)
            syntax = UID(read.file_meta.TransferSyntaxUID)
            # A deflated dataset is not read where it stands in the file.
            pixels = {} if syntax.is_deflated else _pixels(file, syntax)
            if syntax.is_deflated:
                file.seek(0)
                read = inflated(file)
            found = to_json(read) | pixels
    except UndecodableError:
        raise
    except Exception as error:  # whatever a malformed file makes of it
        raise UndecodableError(f"the instance cannot be read: {type(error).__name__}") from None
    found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    found[AVAILABLE_SYNTAX] = {"vr": "UI", "Value": [str(syntax)]}
    text = json.dumps(
        dict(sorted(found.items())), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return zlib.compress(text.encode(), 1)


def _pixels(file: BinaryIO, syntax: UID) -> Json:
    """Return the address of the pixel data that follows in a file, if it does."""
    order = "<" if syntax.is_little_endian else ">"
    head = file.read(6)
    if len(head) < 6:
        return {}
    group, element = struct.unpack_from(f"{order}HH", head)
    vr = "OW" if syntax.is_implicit_VR else head[4:6].decode("latin-1")
    name = f"{group:04X}{element:04X}"
    return {name: {"vr": vr, "BulkDataURI": name}} if group == 0x7FE0 else {}


def to_json(dataset: Dataset, above: str = "") -> Json:
    """Return a dataset in the DICOM JSON model; values that break their VR's rules left out."""
    found: Json = {}
    for tag in sorted(dataset.keys()):
        if tag.element == 0 or tag.group <= 0x0002:
            continue
        name = f"{tag:08X}"
        vr = dicom_json.vr_of(dataset, tag)
        if vr in _BULK and _length(dataset.get_item(tag)) > _LONGEST:
            found[name] = {"vr": vr, "BulkDataURI": f"{above}{name}"}
            continue
        try:
            if vr != "SQ":
                found[name] = dicom_json.element_to_json(dataset, tag)
                continue
            items = [to_json(item, f"{above}{name}.{n}.") for n, item in enumerate(dataset[tag], 1)]
            found[name] = {"vr": "SQ", **({"Value": items} if items else {})}
        except Exception:
            continue
    return found


def _length(raw: Any) -> int:
    if isinstance(raw, RawDataElement):
        return int(raw.length)
    return len(raw.value) if isinstance(raw.value, bytes) else 0


def bulk_value(file: BinaryIO, path: str) -> bytes:
    """Return the value that a bulk data address names: a tag, in items' tags and numbers.

    Raises
    ------
    KeyError
        There is none.
    CannotDecode
        The file cannot be read.
    """
    parts = path.split(".")
    try:
        file.seek(0)
        dataset = inflated(file, stop_before_pixels=int(parts[0], 16) < _PIXELS)
        while len(parts) > 1:
            tag, number, *parts = parts
            if int(number) < 1:
                raise KeyError(path)
            dataset = dataset[int(tag, 16)].value[int(number) - 1]
        value = dataset[int(parts[0], 16)].value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise KeyError(path) from None
    if not isinstance(value, bytes):
        raise KeyError(path)
    return value
