"""Read tables that a hospital writes as CSV; nothing of a file's content is ever quoted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from pacsgrid.errors import ConfigError

# Columns that name the patient: PatientID (0010,0020) and its issuer (0010,0021).
PATIENT_ID, ISSUER = "patient_id", "issuer"
_MOST_BYTES = 256 << 20
_LONGEST = 64


def read_rows(
    file: Path, required: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table, with their line numbers.

    The text is UTF-8, with or without a byte order mark. The first line names the columns, in any
    order. The separator is the comma, the semicolon or the tabulator, as that line has it. Blanks
    around values and empty lines do not count.

    Parameters
    ----------
    file
        The table.
    required
        Columns that the table must have, and whose values may not be empty.
    optional
        Columns that it may have.

    Yields
    ------
    tuple of int and dict
        Number of the line, and values by column; optional ones may be empty.

    Raises
    ------
    ConfigError
        The file cannot be read, or is no such table. The message names the line, and quotes nothing
        of it.
    """
    text = _text(file)
    separator = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(file, header, required, optional)
        for values in reader:
            line = reader.line_num
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(header):
                raise ConfigError(
                    f"{file}, line {line}: has {len(values)} values, the first line names "
                    f"{len(header)} columns; correct it"
                )
            row = {name: value.strip() for name, value in zip(header, values, strict=True)}
            for name in required:
                if not row[name]:
                    raise ConfigError(f"{file}, line {line}: {name} is empty; fill it in")
            for name in (PATIENT_ID, ISSUER):
                value = row.get(name, "")
                if len(value) > _LONGEST or not value.isprintable() or "\\" in value:
                    raise ConfigError(
                        f"{file}, line {line}: {name} is no value of VR LO (PS3.5 6.2): at most "
                        "64 characters, no backslash, no control character"
                    )
            yield line, {**dict.fromkeys(optional, ""), **row}
    except csv.Error:
        raise ConfigError(
            f"{file}, line {reader.line_num}: is not CSV (RFC 4180); look at its quotes"
        ) from None


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{file}: has more than 256 MiB; split it")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not text in UTF-8; save it so") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


def _check_header(
    file: Path, header: list[str], required: Sequence[str], optional: Sequence[str]
) -> None:
    allowed = (*required, *optional)
    missing = [name for name in required if name not in header]
    unknown = [str(n) for n, name in enumerate(header, 1) if name not in allowed]
    if missing:
        raise ConfigError(
            f"{file}, line 1: must name the columns {', '.join(required)}; it lacks "
            f"{', '.join(missing)}"
        )
    if unknown or len(set(header)) != len(header):
        raise ConfigError(
            f"{file}, line 1: column {', '.join(unknown) or 'names'} is unknown or named twice; "
            f"allowed are {', '.join(allowed)}"
        )
