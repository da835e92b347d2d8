"""Record the progress of a run over folders, so that a killed run continues where it stopped."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..disk import storing
from ..errors import ConfigError
from ..model import PatientPrint
from .check import Counts


@dataclass
class StudyEntry:
    """Progress of one study.

    Attributes
    ----------
    done
        Series and SOP Instance UID (pseudonyms) of the result, by the key of the source file.
    held
        Reason code by the key of the source file.
    counts
        What the checker counted in the results.
    subject, study_uid
        Pseudonyms of patient and study; empty before the first result.
    settled
        Whether the results have their final paths.
    patient
        What the headers tell of the patient.
    """

    done: dict[str, tuple[str, str]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    subject: str = ""
    study_uid: str = ""
    settled: bool = False
    patient: PatientPrint = field(default_factory=PatientPrint)


class Journal:
    """An append-only file of JSON lines, each synced to disk before the next step begins.

    It holds keyed hashes and pseudonyms only.

    Parameters
    ----------
    path
        The file; its folder is created if needed.
    made_with
        Identifies profile and key of the run: results of two profiles or keys are not mixed.

    Attributes
    ----------
    studies
        Progress by the reference of the study.

    Raises
    ------
    ConfigError
        The folder holds results of another profile or key, or the file is no journal.
    StorageError
        The folder cannot be written.
    """

    def __init__(self, path: Path, made_with: str) -> None:
        self.studies: dict[str, StudyEntry] = {}
        self._path = path
        with storing(path.parent.parent):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            whole = self._load(path, made_with)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(
                f"{path}: this is not the journal of a run, or it is damaged; remove it to do all "
                "files again"
            ) from None
        with storing(path.parent.parent):
            self._stream = path.open("ab")
        # Remove a line that was cut by a crash: its step is done again.
        self._stream.truncate(whole)
        if not whole:
            self._write({"made_with": made_with})

    def _load(self, path: Path, made_with: str) -> int:
        whole = 0
        if not path.exists():
            return whole
        with path.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                entry = json.loads(line)
                if entry.get("made_with", made_with) != made_with:
                    raise ConfigError(
                        f"{path.parent.parent}: holds results of another profile, key or "
                        "project; choose another folder for the results"
                    )
                if "study" in entry:
                    self._apply(entry)
        return whole

    def _apply(self, entry: dict[str, Any]) -> None:
        study = self.entry(entry["study"])
        if entry.get("dropped"):
            del self.studies[entry["study"]]
            return
        study.settled = bool(entry.get("settled"))
        study.subject = entry.get("subject") or study.subject
        study.study_uid = entry.get("uid") or study.study_uid
        for key, series, sop in entry.get("done", ()):
            study.done[key] = (series, sop)
            study.held.pop(key, None)
        study.held.update(entry.get("held", {}))
        tally = Counter({(tag, fate): count for tag, fate, count in entry.get("counts", ())})
        # Copies of an instance are done as well, but do not count as instances.
        done = entry.get("instances", len(entry.get("done", ())))
        if "patient" in entry:
            study.patient |= PatientPrint.from_fields(*entry["patient"])
        study.counts.merge(Counts(tally, done, entry.get("frames_read", 0)))

    def entry(self, ref: str) -> StudyEntry:
        """Return the progress of a study; a new study is added."""
        return self.studies.setdefault(ref, StudyEntry())

    def patients(self) -> dict[str, PatientPrint]:
        """Return what the headers tell of the patient, by subject, for subjects with results."""
        found: dict[str, PatientPrint] = {}
        for study in self.studies.values():
            if study.settled and study.subject:
                found[study.subject] = found.get(study.subject, PatientPrint()) | study.patient
        return found

    def record_batch(
        self,
        ref: str,
        subject: str,
        study_uid: str,
        done: list[tuple[str, str, str]],
        held: dict[str, str],
        counts: Counts,
        patient: PatientPrint | None = None,
    ) -> None:
        """Record what became of some files of a study.

        Parameters
        ----------
        ref
            Reference of the study.
        subject, study_uid
            Pseudonyms of patient and study.
        done
            Key of the source, and series and SOP Instance UID of the result, for each file done.
        held
            Reason code of each held file, by the key of the source.
        counts
            What the checker counted in these results.
        patient
            What the headers tell of the patient; None leaves it as it is.

        Raises
        ------
        StorageError
            The journal cannot be written.
        """
        entry = {
            "study": ref,
            "subject": subject,
            "uid": study_uid,
            "done": done,
            "held": held,
            "counts": [[tag, fate, count] for (tag, fate), count in counts.by_tag.items()],
            "instances": counts.instances,
            "frames_read": counts.frames_read,
        }
        if patient is not None:
            entry["patient"] = patient.as_fields()
        self._apply(entry)
        self._write(entry)

    def mark_settled(self, ref: str) -> None:
        """Record that all results of a study have their final paths."""
        self.entry(ref).settled = True
        self._write({"study": ref, "settled": True})

    def drop(self, ref: str) -> None:
        """Forget a study, which was refused as a whole."""
        self.studies.pop(ref, None)
        self._write({"study": ref, "dropped": True})

    def _write(self, entry: dict[str, Any]) -> None:
        with storing(self._path.parent.parent):
            self._stream.write(json.dumps(entry).encode() + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # a failed write has been raised already
            self._stream.close()

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the file."""
        self.close()
