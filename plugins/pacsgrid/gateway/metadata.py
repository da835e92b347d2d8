"""Attributes of instances in the DICOM JSON model (PS3.18 annex F).

Large binary values are replaced by the URL of a bulk data resource (PS3.18 F.2.6).
"""

from __future__ import annotations

import json
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import BinaryIO

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pacsgrid.gateway.file_cache import FileCache
from pacsgrid.gateway.index import Index
from pacsgrid.gateway.object_reader import SMALL, ObjectReader, StoredInstance
from pacsgrid.gateway.transcode import UndecodableError, inflated
from pacsgrid.pipeline import dicom_json
from pacsgrid.pipeline.attributes import AVAILABLE_SYNTAX, Json

# Values of these VRs that are longer than `_LONGEST` bytes become bulk data.
_BULK = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
_LONGEST = 1024
_PIXELS = 0x7FE00000
# The last part of a bulk data URL: a tag, preceded by the tags and item numbers of sequences.
PATH = re.compile(r"[0-9A-Fa-f]{8}(\.[0-9]{1,6}\.[0-9A-Fa-f]{8}){0,32}")
# The cached JSON has bulk data URLs relative to the instance; this is where the rest goes in.
# No value can contain this text, since quotes in values are escaped.
_MARK = '"BulkDataURI":"'


def metadata(
    index: Index,
    objects: ObjectReader,
    cache: FileCache,
    instances: Sequence[StoredInstance],
    address: str,
) -> Iterator[str]:
    """Yield each instance's attributes as JSON text.

    An instance is read from its zone only if its attributes are not in the index yet.

    Parameters
    ----------
    index
        Holds the attributes of instances that were read before.
    objects
        Reads small instances.
    cache
        Reads large instances.
    instances
        The instances to describe.
    address
        The URL of the DICOMweb service, for the URLs of bulk data.

    Yields
    ------
    str
        One JSON object for each instance, in order.

    Raises
    ------
    UndecodableError
        An instance is not a readable DICOM file.
    ZoneUnavailableError
        No zone that has an instance answers.
    ZoneError
        No replica of an instance has its checksum.
    """
    known: dict[str, bytes] = {}
    unknown = []
    for instance in instances:
        content = index.metadata(instance.sha256)
        if content is None:
            unknown.append(instance)
        else:
            known[instance.sha256] = content
    fetched = objects.many(instance for instance in unknown if instance.size <= SMALL)
    new: dict[str, bytes] = {}
    try:
        for instance in instances:
            content = known.get(instance.sha256)
            if content is None:
                if instance.size > SMALL:
                    with cache.open(instance) as file:
                        content = _compressed_json(file)
                else:
                    content = _compressed_json(BytesIO(b"".join(next(fetched)[1])))
                new[instance.sha256] = content
            yield _with_urls(content, instance, address)
    finally:
        if new:
            index.keep_metadata(new)


def _with_urls(content: bytes, instance: StoredInstance, address: str) -> str:
    """Return the JSON text with complete bulk data URLs."""
    base = (
        f"{address}/studies/{instance.study}/series/{instance.series}"
        f"/instances/{instance.sop}/bulkdata/"
    )
    return zlib.decompress(content).decode().replace(_MARK, _MARK + base)


def _compressed_json(file: BinaryIO) -> bytes:
    """Return a file's attributes as JSON, compressed by zlib as the index keeps them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = inflated(file, stop_before_pixels=True)
            syntax = UID(dataset.file_meta.TransferSyntaxUID)
            # pydicom reads a deflated dataset in memory, so the file's position says nothing.
            pixel_data = {} if syntax.is_deflated else _pixel_data(file, syntax)
            if syntax.is_deflated:
                file.seek(0)
                dataset = inflated(file)
            found = to_json(dataset) | pixel_data
    except UndecodableError:
        raise
    except Exception as error:  # a malformed file can raise nearly anything
        raise UndecodableError(f"the instance cannot be read: {type(error).__name__}") from None
    found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    found[AVAILABLE_SYNTAX] = {"vr": "UI", "Value": [str(syntax)]}
    text = json.dumps(
        dict(sorted(found.items())), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return zlib.compress(text.encode(), 1)


def _pixel_data(file: BinaryIO, syntax: UID) -> Json:
    """Return the bulk data entry of the pixel data at the file's position; empty without any."""
    order = "<" if syntax.is_little_endian else ">"
    head = file.read(6)
    if len(head) < 6:
        return {}
    group, element = struct.unpack_from(f"{order}HH", head)
    vr = "OW" if syntax.is_implicit_VR else head[4:6].decode("latin-1")
    name = f"{group:04X}{element:04X}"
    return {name: {"vr": vr, "BulkDataURI": name}} if group == 0x7FE0 else {}


def to_json(dataset: Dataset, parent: str = "") -> Json:
    """Return a dataset in the DICOM JSON model (PS3.18 annex F).

    Values that violate their VR are left out.

    Parameters
    ----------
    dataset
        A dataset, or an item of a sequence.
    parent
        Tag and item number of each sequence above the item, each followed by a dot.

    Returns
    -------
    dict
        The attributes by their tags in 8 hex digits; a BulkDataURI is relative to the instance's
        ``bulkdata/``.
    """
    found: Json = {}
    for tag in sorted(dataset.keys()):
        if tag.element == 0 or tag.group <= 0x0002:
            continue
        name = f"{tag:08X}"
        vr = dicom_json.vr_of(dataset, tag)
        if vr in _BULK and _length(dataset.get_item(tag)) > _LONGEST:
            found[name] = {"vr": vr, "BulkDataURI": f"{parent}{name}"}
            continue
        try:
            if vr != "SQ":
                found[name] = dicom_json.element_to_json(dataset, tag)
                continue
            items = [
                to_json(item, f"{parent}{name}.{n}.") for n, item in enumerate(dataset[tag], 1)
            ]
            found[name] = {"vr": "SQ", **({"Value": items} if items else {})}
        except Exception:
            continue
    return found


def _length(element: DataElement | RawDataElement) -> int:
    """Return the length of a binary value in bytes; 0 for any other value."""
    if isinstance(element, RawDataElement):
        return int(element.length)
    return len(element.value) if isinstance(element.value, bytes) else 0


def bulk_value(file: BinaryIO, path: str) -> bytes:
    """Return the value that the last part of a bulk data URL names.

    Parameters
    ----------
    file
        The instance's file, open for reading.
    path
        A tag in 8 hex digits, preceded by the tag and item number (from 1) of each sequence
        above it, with dots between them. It matches `PATH`.

    Returns
    -------
    bytes
        The value as it is stored.

    Raises
    ------
    KeyError
        The instance has no such binary value.
    UndecodableError
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
