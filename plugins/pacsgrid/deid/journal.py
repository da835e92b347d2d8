"""What a run over folders has done so far, so that a killed one goes on where it stopped."""

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
    """A study's files that are done or held, by key, and the counts of the done ones."""

    done: dict[str, tuple[str, str]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    subject: str = ""
    study_uid: str = ""
    settled: bool = False
    patient: PatientPrint = field(default_factory=PatientPrint)


class Journal:
    """An append-only file of JSON lines, each on disk before the next step begins.

    It holds keyed hashes and pseudonyms only.

    Parameters
    ----------
    path
        The file; its folder is made when it is not there.
    made_with
        What profile and key a run uses; another run's results cannot be mixed with it.

    Raises
    ------
    ConfigError
        The folder holds the results of another profile or key, or the file is no journal.
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
                f"{path}: not what a run writes there; remove it, and what was done is done again"
            ) from None
        with storing(path.parent.parent):
            self._stream = path.open("ab")
        # A line that was cut by a crash is written again.
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
                        f"{path.parent.parent}: was made with another profile, key or project; "
                        "name another folder for the results"
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
        # Copies of an instance are done, but no instances of their own.
        done = entry.get("instances", len(entry.get("done", ())))
        if "patient" in entry:
            study.patient |= PatientPrint.from_fields(*entry["patient"])
        study.counts.merge(Counts(tally, done, entry.get("frames_read", 0)))

    def entry(self, ref: str) -> StudyEntry:
        """Return what is known of a study."""
        return self.studies.setdefault(ref, StudyEntry())

    def patients(self) -> dict[str, PatientPrint]:
        """Return what is known of the patient of each subject with results."""
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
        """Note what became of some of a study's files: ``(key, series UID, SOP UID)`` each."""
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
        """Note that all of a study stands under its final names."""
        self.entry(ref).settled = True
        self._write({"study": ref, "settled": True})

    def drop(self, ref: str) -> None:
        """Forget a study: it was refused as a whole."""
        self.studies.pop(ref, None)
        self._write({"study": ref, "dropped": True})

    def _write(self, entry: dict[str, Any]) -> None:
        with storing(self._path.parent.parent):
            self._stream.write(json.dumps(entry).encode() + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # what could not be written was told when it was
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
