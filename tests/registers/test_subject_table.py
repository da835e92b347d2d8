"""Tables of subjects: what is read, and what is refused with its line and no value of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsgrid.errors import ConfigError
from pacsgrid.registers import read_subject_table


def table(folder: Path, text: str) -> Path:
    file = folder / "subjects.csv"
    file.write_bytes(text.encode())
    return file


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_write_is_read(
    tmp_path: Path, mark: str, separator: str, end: str
) -> None:
    lines = [
        ("Subject", "patient_id", "issuer", "shift_days"),
        ("LUNG-001", '" 756203/1234 "', "FNB", "-17"),
        ("", "", "", ""),
        ("LUNG_002", "756203/1234", "", "+30"),
        ("LUNG-001", "756203/1234", "FNB", "-17"),
    ]
    text = mark + end.join(separator.join(line) for line in lines)
    rows = read_subject_table(table(tmp_path, text), with_shift=True)
    assert [(r.line, r.patient_id, r.issuer, r.subject, r.shift_days) for r in rows] == [
        (2, "756203/1234", "FNB", "LUNG-001", -17),
        (4, "756203/1234", "", "LUNG_002", 30),
    ]
    assert "756203" not in repr(rows)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: must name the columns"),
        ("patient_id,name\n1,2\n", "lacks subject"),
        ("patient_id,subject,Novak\n1,A,2\n", "line 1: column 3 is unknown"),
        ("patient_id,subject,subject\n1,A,2\n", "named twice"),
        ("patient_id,subject\n756203/1234,A\n756203/1234\n", "line 3: has 1 values"),
        ("patient_id,subject\n,A\n", "line 2: patient_id is empty"),
        ('patient_id,subject\n"756203/1234"x,A\n', "line 2: is not CSV"),
        ("patient_id,subject\n756203\\1234,A\n", "line 2: patient_id is no value of VR LO"),
        ("patient_id,subject\n" + "7" * 65 + ",A\n", "line 2: patient_id is no value of VR LO"),
        ("patient_id,subject\n756203/1234,../A\n", "line 2: the subject must have"),
        ("patient_id,subject\n756203/1234,A/B\n", "line 2: the subject must have"),
        ("patient_id,subject\n756203/1234,Žofie\n", "line 2: the subject must have"),
        ("patient_id,subject\n756203/1234,-rf\n", "line 2: the subject must have"),
        ("patient_id,subject\n756203/1234," + "A" * 65 + "\n", "line 2: the subject must have"),
        ("patient_id,subject\n756203/1234,X7562031234\n", "line 2: the subject holds the patient"),
        ("patient_id,subject\n0077,S_0077\n", "line 2: the subject holds the patient"),
        ("patient_id,subject\n77,77\n", "line 2: the subject holds the patient"),
        ("patient_id,subject\n756203/1234,A\n756203/1234,B\n", "line 3: line 2 says otherwise"),
        ("patient_id,subject\n756203/1234,A1\n801101/0022,a1\n", "line 3: line 2 gives the subj"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_line_alone(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        read_subject_table(table(tmp_path, text), with_shift=False)
    message = str(caught.value).removeprefix(str(tmp_path))
    for value in ("756203", "1234", "7562031234", "Novak", "Žofie", "801101"):
        assert value not in message


@pytest.mark.parametrize("days", ["0", "-0", "3651", "-3651", "1.5", "x", "1e2", "٣", "--1"])
def test_a_shift_that_is_none_is_refused(tmp_path: Path, days: str) -> None:
    text = f"patient_id,subject,shift_days\n756203/1234,A,{days}\n"
    with pytest.raises(ConfigError, match="line 2: shift_days is not a whole number"):
        read_subject_table(table(tmp_path, text), with_shift=True)


def test_a_number_that_holds_another_one_by_chance_is_no_id(tmp_path: Path) -> None:
    text = "patient_id,subject\n1,LUNG-1\n1000,LUNG-10001\n"
    assert len(read_subject_table(table(tmp_path, text), with_shift=False)) == 2


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("patient_id,subject\nŽ,A\n".encode("cp1250"))
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        read_subject_table(tmp_path / "t.csv", with_shift=False)
