"""The documents of a BIDS data set: description, participants, read-me, and what was left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pacsgrid import __version__
from pacsgrid.config.bids import DATATYPES
from pacsgrid.pipeline.bids.naming import subject_label

BIDS_VERSION = "1.10.0"
Record = Mapping[str, Any]

_COLUMNS = {
    "sex": {
        "Description": "Sex by the study's header, as far as the profile keeps it",
        "Levels": {"F": "female", "M": "male", "O": "other"},
    },
    "age": {"Description": "Age at the first study, where the profile keeps it", "Units": "year"},
}


def dataset_documents(title: str, collection: str, records: Sequence[Record]) -> dict[str, bytes]:
    """Return the documents, by their path below the data set.

    Parameters
    ----------
    title
        What readers call the data set.
    collection
        The release that it was derived from.
    records
        The records of all studies.
    """
    columns, rows = _participants(records)
    converter = next(iter(records), {}).get("converter", "dcm2niix")
    description = {
        "Name": title,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [
            {"Name": "pacsgrid", "Version": __version__},
            {"Name": "dcm2niix", "Version": converter.partition(" ")[2]},
        ],
        "SourceDatasets": [{"URL": f"irods://{collection}"}],
    }
    files = [one["path"] for record in records for one in record["files"]]
    datatypes = {path.split("/")[2] for path in files}
    ignored = [f"sub-*/ses-*/{name}" for name in sorted(datatypes - DATATYPES)]
    return {
        "dataset_description.json": _json(description),
        "participants.tsv": _tsv(["participant_id", *columns], rows),
        "participants.json": _json({name: _COLUMNS[name] for name in columns}),
        "README.md": _readme(title, collection, records).encode(),
        ".bidsignore": "".join(f"{line}\n" for line in ignored).encode(),
        "code/conversion.tsv": _tsv(
            ["participant_id", "study", "series", "file", "reason"], _conversions(records)
        ),
    }


def _participants(records: Iterable[Record]) -> tuple[list[str], list[list[str]]]:
    people: dict[str, dict[str, str]] = {}
    for record in records:
        if not record["files"]:
            continue
        told = people.setdefault(f"sub-{subject_label(record['subject'])}", {})
        for name, value in record["participant"].items():
            known = told.setdefault(name, value)
            if name == "age":
                told[name] = min(known, value, key=int)
    columns = [name for name in _COLUMNS if any(name in told for told in people.values())]
    rows = [
        [label, *(told.get(name, "n/a") for name in columns)]
        for label, told in sorted(people.items())
    ]
    return columns, rows


def _conversions(records: Iterable[Record]) -> list[list[str]]:
    rows = []
    for record in records:
        start = [f"sub-{subject_label(record['subject'])}", record["study"]]
        if record["refused"]:
            rows.append([*start, "n/a", "n/a", record["refused"]])
        rows += [
            [*start, one["series"], one["path"], "n/a"]
            for one in record["files"]
            if one["path"].endswith(".nii.gz")
        ]
        rows += [[*start, series, "n/a", why] for series, why in record["left"].items()]
    return sorted(rows)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _tsv(head: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    lines = [head, *([" ".join(cell.split()) for cell in row] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def _readme(title: str, collection: str, records: Sequence[Record]) -> str:
    images = sum(one["path"].endswith(".nii.gz") for r in records for one in r["files"])
    left = sum(len(record["left"]) for record in records)
    return f"""# {title}

NIfTI images in the Brain Imaging Data Structure, converted from the DICOM files of the release
{collection}, which stays the reference: {len(records)} studies, {images} images.

A subject's label is its pseudonym, a session's label is derived from the study's UID.
`code/conversion.tsv` lists the file that each series became, and {left} series that were not
converted, each with its reason. Checksums of the files are in `code/conversion/`.
"""
