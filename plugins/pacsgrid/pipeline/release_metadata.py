"""Metadata of a release for machines: RO-Crate 1.1, Croissant 1.0 and DataCite 4.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import quote

from pacsgrid.config.releases import Creator, ReleaseSection
from pacsgrid.pipeline.release_columns import Column
from pacsgrid.pipeline.release_layout import (
    DICTIONARY,
    INSTANCES_PARQUET,
    MANIFEST,
    RO_CRATE,
    SERIES_CSV,
    SERIES_PARQUET,
    SUMS,
    TableFile,
)

_TYPES = {
    MANIFEST: "application/json",
    SUMS: "text/plain",
    "README.md": "text/markdown",
    "fetch.sh": "application/x-sh",
    SERIES_PARQUET: "application/vnd.apache.parquet",
    INSTANCES_PARQUET: "application/vnd.apache.parquet",
    SERIES_CSV: "text/csv",
    DICTIONARY: "text/csv",
    "croissant.json": "application/ld+json",
    "datacite.json": "application/json",
}
_NO_LICENCE = "No licence is granted; ask the publisher"
# DataCite's standard value for what is not known (schema 4, appendix 3).
_UNKNOWN = ":unav"
_CROISSANT_TYPES = {
    "text": "sc:Text",
    "integer": "sc:Integer",
    "number": "sc:Float",
    "date": "sc:Date",
}
# What Croissant's own tool reads Parquet by; it does not know the registered media type.
_CROISSANT_ENCODINGS = dict.fromkeys((SERIES_PARQUET, INSTANCES_PARQUET), "application/x-parquet")
# As the format's specification gives it.
_CROISSANT_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


@dataclass(frozen=True)
class EarlierVersion:
    """The version before: its number, and its DOI if one was reserved."""

    version: int
    doi: str = ""


@dataclass(frozen=True)
class ReleaseDescription:
    """What the metadata say of a version.

    Attributes
    ----------
    project, name, version, title
        What the version is.
    released
        When it was made.
    terms
        Licence, creators and publisher, from the project's settings.
    doi
        The version's DOI; empty for none.
    earlier
        The version before; None for the first.
    subjects, instances, bytes
        How many there are.
    studies
        Path, UID, modalities and bytes of each study.
    """

    project: str
    name: str
    version: int
    title: str
    released: date
    terms: ReleaseSection
    doi: str
    earlier: EarlierVersion | None
    subjects: int
    instances: int
    bytes: int
    studies: Sequence[tuple[str, str, Sequence[str], int]]

    @property
    def page(self) -> str:
        """The address of the version's page; that of its DOI where none is set."""
        page = self.terms.landing_page.format(
            project=self.project, name=self.name, version=self.version
        )
        return page or (_address(self.doi) if self.doi else "")

    @property
    def text(self) -> str:
        """A description in words."""
        counts = (
            f"De-identified DICOM images of {self.subjects} subjects: {len(self.studies)} studies, "
            f"{self.instances} instances."
        )
        return f"{self.terms.description}\n\n{counts}" if self.terms.description else counts

    @property
    def publisher(self) -> str:
        """Who publishes it."""
        return self.terms.publisher or _UNKNOWN

    @property
    def creators(self) -> Sequence[Creator]:
        """Whom a citation names."""
        return self.terms.creators or (Creator(name=self.publisher, organisation=True),)

    @property
    def licence_address(self) -> str:
        """The address of the licence; empty for none."""
        licence = self.terms.licence
        return f"https://spdx.org/licenses/{licence}" if licence else ""


def _address(doi: str) -> str:
    return f"https://doi.org/{doi}"


def datacite(one: ReleaseDescription) -> dict[str, Any]:
    """Return the metadata by DataCite's schema 4.5, in the JSON of its REST API.

    Parameters
    ----------
    one
        The version.
    """
    terms = one.terms
    rights = [
        {
            "rights": terms.licence,
            "rightsUri": one.licence_address,
            "rightsIdentifier": terms.licence,
            "rightsIdentifierScheme": "SPDX",
            "schemeUri": "https://spdx.org/licenses/",
        }
    ] * bool(terms.licence) + [{"rights": terms.terms}] * bool(terms.terms)
    found: dict[str, Any] = {
        "creators": [_datacite_creator(creator) for creator in one.creators],
        "titles": [{"title": one.title}],
        "publisher": {"name": one.publisher},
        "publicationYear": str(one.released.year),
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "DICOM images"},
        "version": str(one.version),
        "descriptions": [{"description": one.text, "descriptionType": "Abstract"}],
        "dates": [{"date": one.released.isoformat(), "dateType": "Issued"}],
        "sizes": [f"{len(one.studies)} studies", f"{one.instances} instances", f"{one.bytes} B"],
        "formats": ["application/dicom"],
        "schemaVersion": "http://datacite.org/schema/kernel-4",
    }
    if rights:
        found["rightsList"] = rights
    if one.doi:
        found["doi"] = one.doi
    if one.page:
        found["url"] = one.page
    if one.earlier and one.earlier.doi:
        found["relatedIdentifiers"] = [related(one.earlier.doi, "IsNewVersionOf")]
    return found


def related(doi: str, relation: str) -> dict[str, str]:
    """Return a related identifier by DataCite's schema 4.

    Parameters
    ----------
    doi
        The other version's DOI.
    relation
        What the described version is to it, such as ``IsNewVersionOf``.
    """
    return {
        "relatedIdentifier": doi,
        "relatedIdentifierType": "DOI",
        "relationType": relation,
    }


def _datacite_creator(creator: Creator) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": creator.name,
        "nameType": "Organizational" if creator.organisation else "Personal",
    }
    if creator.orcid:
        found["nameIdentifiers"] = [
            {
                "nameIdentifier": f"https://orcid.org/{creator.orcid}",
                "nameIdentifierScheme": "ORCID",
                "schemeUri": "https://orcid.org",
            }
        ]
    if creator.affiliation:
        found["affiliation"] = [{"name": creator.affiliation}]
    return found


def ro_crate(one: ReleaseDescription, tables: Sequence[TableFile]) -> dict[str, Any]:
    """Return the metadata as an RO-Crate: documents, tables and studies are parts of the root.

    Parameters
    ----------
    one
        The version.
    tables
        Its tables.
    """
    files: list[dict[str, Any]] = [
        {"@id": name, "@type": "File", "name": name, "encodingFormat": kind}
        for name, kind in _TYPES.items()
    ]
    sizes = {table.name: table.size for table in tables}
    for file in files:
        if file["@id"] in sizes:
            file["contentSize"] = str(sizes[file["@id"]])
    files = [one for one in files if one["@id"] in sizes or one["@id"] not in _TABLES]
    studies = [
        {
            "@id": f"{path}/",
            "@type": "Dataset",
            "name": f"DICOM study {uid}",
            "identifier": uid,
            "keywords": ", ".join(modalities),
            "size": str(size),
        }
        for path, uid, modalities, size in one.studies
    ]
    creators = [_crate_creator(creator, n) for n, creator in enumerate(one.creators, 1)]
    authors = [{"@id": creator["@id"]} for creator in creators]
    affiliations = sorted({creator.affiliation for creator in one.creators} - {""})
    publisher = {"@id": "#publisher", "@type": "Organization", "name": one.publisher}
    licence = {
        "@id": one.licence_address or "#terms",
        "@type": "CreativeWork",
        "name": one.terms.licence or "Terms of use",
        "description": one.terms.terms or one.terms.licence or _NO_LICENCE,
    }
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": one.title,
        "description": one.text,
        "identifier": _address(one.doi) if one.doi else one.name,
        "datePublished": one.released.isoformat(),
        "version": str(one.version),
        "license": {"@id": licence["@id"]},
        "publisher": {"@id": publisher["@id"]},
        "author": authors[0] if len(authors) == 1 else authors,
        "hasPart": [{"@id": part["@id"]} for part in (*files, *studies)],
    }
    others: list[dict[str, Any]] = [
        {"@id": _organisation(name), "@type": "Organization", "name": name} for name in affiliations
    ]
    if one.page:
        root["url"] = one.page
    if one.earlier:
        earlier = _address(one.earlier.doi) if one.earlier.doi else f"#v{one.earlier.version}"
        root["isBasedOn"] = {"@id": earlier}
        others.append(
            {
                "@id": earlier,
                "@type": "CreativeWork",
                "name": f"{one.name}, version {one.earlier.version}",
                "version": str(one.earlier.version),
            }
        )
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": RO_CRATE,
                "@type": "CreativeWork",
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            root,
            publisher,
            licence,
            *creators,
            *others,
            *files,
            *studies,
        ],
    }


_TABLES = {SERIES_PARQUET, SERIES_CSV, INSTANCES_PARQUET, DICTIONARY}


def _crate_creator(creator: Creator, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@id": f"https://orcid.org/{creator.orcid}" if creator.orcid else f"#creator{number}",
        "@type": "Organization" if creator.organisation else "Person",
        "name": creator.name,
    }
    if creator.affiliation:
        found["affiliation"] = {"@id": _organisation(creator.affiliation)}
    return found


def _organisation(name: str) -> str:
    return f"#{quote(name)}"


def croissant(
    one: ReleaseDescription,
    tables: Sequence[TableFile],
    columns: Mapping[str, Sequence[Column]],
) -> dict[str, Any]:
    """Return the metadata as Croissant: each Parquet table is a record set.

    Parameters
    ----------
    one
        The version.
    tables
        Its tables.
    columns
        The columns of each table, by its file's name.
    """
    creators = [
        {
            "@type": "Organization" if creator.organisation else "Person",
            "name": creator.name,
            **({"url": f"https://orcid.org/{creator.orcid}"} if creator.orcid else {}),
        }
        for creator in one.creators
    ]
    found: dict[str, Any] = {
        "@context": _CROISSANT_CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": one.title,
        "description": one.text,
        "version": f"{one.version}.0.0",
        "datePublished": one.released.isoformat(),
        "license": one.licence_address or one.terms.terms or _NO_LICENCE,
        "creator": creators,
        "publisher": {"@type": "Organization", "name": one.publisher},
        "citeAs": _citation(one),
        "url": one.page or f"urn:pacsgrid:{one.project}:{one.name}:{one.version}",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": table.name,
                "name": table.name,
                "contentUrl": table.name,
                "contentSize": f"{table.size} B",
                "encodingFormat": _CROISSANT_ENCODINGS.get(table.name, _TYPES[table.name]),
                "sha256": table.sha256,
            }
            for table in tables
        ],
        "recordSet": [
            _record_set(name, columns[name]) for name in (SERIES_PARQUET, INSTANCES_PARQUET)
        ],
    }
    if one.doi:
        found["sameAs"] = _address(one.doi)
    return found


def _citation(one: ReleaseDescription) -> str:
    names = "; ".join(creator.name for creator in one.creators)
    place = f" {_address(one.doi)}" if one.doi else ""
    title = f"{one.title}, version {one.version}"
    return f"{names} ({one.released.year}): {title}. {one.publisher}.{place}"


def _record_set(file: str, columns: Sequence[Column]) -> dict[str, Any]:
    name = file.partition(".")[0]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"A row for each of the release's {name}",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column.name}",
                "name": column.name,
                "description": column.about,
                "dataType": _CROISSANT_TYPES[column.kind],
                **({"repeated": True} if column.many else {}),
                "source": {
                    "fileObject": {"@id": file},
                    "extract": {"column": column.name},
                },
            }
            for column in columns
        ],
    }
