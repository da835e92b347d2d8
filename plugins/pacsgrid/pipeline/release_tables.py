"""The tables of a release: its series and its instances, and a dictionary of their columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pacsgrid.disk import sha256_of
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.attributes import Json, split_by_level
from pacsgrid.pipeline.release_columns import (
    COMMON,
    INSTANCE_ATTRIBUTES,
    INSTANCE_COLUMNS,
    SERIES_ATTRIBUTES,
    SERIES_COLUMNS,
    Column,
)
from pacsgrid.pipeline.release_layout import (
    DICTIONARY,
    INSTANCES_PARQUET,
    SERIES_CSV,
    SERIES_PARQUET,
    TableFile,
    path_in_project,
    series_in_project,
)

TABLES: Mapping[str, tuple[Column, ...]] = {
    SERIES_PARQUET: SERIES_COLUMNS,
    SERIES_CSV: SERIES_COLUMNS,
    INSTANCES_PARQUET: INSTANCE_COLUMNS,
}
# Rows of a row group, which is what a writer holds in memory.
_GROUP = 10_000
_TYPES = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "date": pa.date32()}

# A study's instances, and the attributes of each by its SOP instance UID.
Study = tuple[Sequence[InstanceRecord], Mapping[str, Json]]


def write_tables(folder: Path, home: str, studies: Iterable[Study]) -> list[TableFile]:
    """Write the tables of a release; memory does not grow with the number of studies.

    Parameters
    ----------
    folder
        The directory that receives them.
    home
        The project's collection in the zone.
    studies
        The studies in the order of their rows.

    Returns
    -------
    list of TableFile
        The tables and the dictionary of their columns.

    Raises
    ------
    HeldError
        An instance has a UID that cannot be part of a path.
    OSError
        The folder cannot be written.
    """
    with ExitStack() as stack:
        series = stack.enter_context(_Parquet(folder / SERIES_PARQUET, SERIES_COLUMNS))
        instances = stack.enter_context(_Parquet(folder / INSTANCES_PARQUET, INSTANCE_COLUMNS))
        text = stack.enter_context((folder / SERIES_CSV).open("w", encoding="utf-8", newline=""))
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(column.name for column in SERIES_COLUMNS)
        for rows, known in studies:
            for cells in _series_rows(home, rows, known):
                series.add(cells)
                lines.writerow(_as_text(cell) for cell in cells)
            for row in rows:
                instances.add(_instance_row(row, known.get(row.sop_uid, {})))
    (folder / DICTIONARY).write_text(data_dictionary(), encoding="utf-8")
    return [
        TableFile(path, sha256_of(path), path.stat().st_size)
        for path in (folder / name for name in (*TABLES, DICTIONARY))
    ]


def data_dictionary() -> str:
    """Return the dictionary: a line for each column of each table, as CSV."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("table", "column", "type", "list", "tag", "vr", "meaning"))
    for name, columns in TABLES.items():
        for one in columns:
            tag = f"({one.tag[:4]},{one.tag[4:]})" if one.tag else ""
            many = "yes" if one.many else "no"
            lines.writerow((name, one.name, one.kind, many, tag, one.vr, one.about))
    return text.getvalue()


def _series_rows(
    home: str, rows: Sequence[InstanceRecord], known: Mapping[str, Json]
) -> Iterator[list[Any]]:
    by_series: dict[str, list[InstanceRecord]] = {}
    for row in rows:
        by_series.setdefault(row.series_uid, []).append(row)
    listed = {row.sop_uid: known.get(row.sop_uid, {}) for row in rows}
    study, series, own = split_by_level({row.sop_uid: row.series_uid for row in rows}, listed)
    for uid, inside in by_series.items():
        first, shared = inside[0], {**study, **series.get(uid, {})}
        path = series_in_project(first)
        yield [
            first.subject,
            first.study_uid,
            uid,
            first.modality or None,
            len(inside),
            sum(row.size for row in inside),
            path,
            f"{home}/{path}",
            *(column.read(shared) for column in SERIES_ATTRIBUTES),
            *_common([own[row.sop_uid] for row in inside]),
        ]


def _common(instances: Sequence[Json]) -> Iterator[Any]:
    """Yield the value of each attribute that all instances share, otherwise None."""
    first = instances[0]
    for column in COMMON:
        value = first.get(column.tag)
        same = value is not None and all(one.get(column.tag) == value for one in instances)
        yield column.read(first) if same else None


def _instance_row(row: InstanceRecord, known: Json) -> list[Any]:
    return [
        row.subject,
        row.study_uid,
        row.series_uid,
        row.sop_uid,
        row.modality or None,
        row.size,
        row.sha256,
        path_in_project(row),
        *(column.read(known) for column in INSTANCE_ATTRIBUTES),
    ]


def _as_text(cell: Any) -> str:
    if isinstance(cell, list):
        return "\\".join("" if one is None else str(one) for one in cell)
    return "" if cell is None else str(cell)


class _Parquet:
    """Writes rows to a Parquet file, a row group at a time."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._schema = pa.schema(
            [
                pa.field(
                    one.name,
                    pa.list_(_TYPES[one.kind]) if one.many else _TYPES[one.kind],
                    metadata={"description": one.about},
                )
                for one in columns
            ]
        )
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[list[Any]] = []

    def add(self, cells: list[Any]) -> None:
        """Add a row."""
        self._rows.append(cells)
        if len(self._rows) == _GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            arrays = [
                pa.array(values, field.type)
                for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
            ]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            self._rows = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            self._writer.close()
