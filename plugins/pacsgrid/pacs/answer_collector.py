"""Collect a source's answers to a query, each study once, in memory that does not grow."""

from __future__ import annotations

import logging
import os
import pickle
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pacsgrid.errors import TooManyAnswersError
from pacsgrid.model import FoundStudy, StudyQuery
from pacsgrid.pacs.query_check import Answer, match_answer, merge_queries

log = logging.getLogger(__name__)

# Pages that are kept in memory; what is more goes to a file without a name.
_CACHE_KIB = 8 << 10
_NONCE = 12


class AnswerCollector:
    """Collects a source's answers to a query: each study once, none that was not queried for.

    What does not fit into a few megabytes of memory is in a temporary file, encrypted with a key
    that only this object has. The file has no name any more when it is written to.

    Parameters
    ----------
    name
        The source's name, for messages.
    most
        How many answers the source gives to one query at most, 0 for no limit.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._total = self._unasked = 0
        self._key = os.urandom(32)
        self._cipher = AESGCM(self._key)
        # Its file goes with the connection.
        self._found = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._found.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._found.execute("PRAGMA journal_mode = OFF")
        self._found.execute("PRAGMA temp_store = FILE")
        self._found.execute(
            "CREATE TABLE found (number INTEGER PRIMARY KEY, key BLOB NOT NULL, doubtful INTEGER,"
            " study BLOB NOT NULL)"
        )
        self._found.execute("CREATE UNIQUE INDEX found_key ON found (key)")
        self._found.execute("BEGIN")

    def add(self, query: StudyQuery, answers: Iterable[Answer]) -> None:
        """Add the answers to one query.

        Parameters
        ----------
        query
            One that `split_query` yielded.
        answers
            What the source answered.

        Raises
        ------
        TooManyAnswersError
            There are as many as the source gives at most, so others may be missing.
        """
        count = 0
        for answer in answers:
            count += 1
            study = match_answer(answer, query)
            if study is None:
                self._unasked += 1
            else:
                self._enter(study)
        self._total += count
        if self._most and count >= self._most:
            raise TooManyAnswersError(
                f"source {self._name}: gives no more than {self._most} answers "
                "(most_answers); query less at once"
            )

    def studies(self, has_modality: Callable[[FoundStudy], bool]) -> Iterator[FoundStudy]:
        """Return the studies; the source is asked before the first is returned.

        Parameters
        ----------
        has_modality
            Asks the source whether a study has a queried modality, if its answer did not say.
        """
        for number, study in self._read("WHERE doubtful"):
            if not has_modality(study):
                self._unasked += 1
                self._found.execute("DELETE FROM found WHERE number = ?", (number,))
        if self._unasked:
            log.warning(
                "source %s: %d of %d answers were not asked for and are ignored; the source "
                "ignores a matching key, or the case of letters",
                self._name,
                self._unasked,
                self._total,
            )
        return (study for _, study in self._read(""))

    def _enter(self, study: FoundStudy) -> None:
        # Keep a study without a UID too: a steward must see it.
        text = study.study_uid or f"patient {study.patient_id}"
        key = blake2b(text.encode("utf-8", "surrogateescape"), key=self._key).digest()[:16]
        ((number, before),) = self._found.execute(
            "SELECT max(number), max(study) FROM found WHERE key = ?", (key,)
        )
        if number is not None:
            study = merge_queries(self._open(before), study)
        by_modality = study.query is not None and bool(study.query.modalities)
        doubtful = by_modality and bool(study.study_uid) and "modalities" not in study.confirmed
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, pickle.dumps(study), None)
        self._found.execute(
            "INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?)", (number, key, doubtful, sealed)
        )

    def _open(self, sealed: bytes) -> FoundStudy:
        study = pickle.loads(self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None))
        assert isinstance(study, FoundStudy)
        return study

    def _read(self, which: str) -> Iterator[tuple[int, FoundStudy]]:
        """Yield what was entered, in this order; rows may be deleted meanwhile."""
        at = 0
        while rows := self._found.execute(
            f"SELECT number, study FROM found {which or 'WHERE true'} AND number > ?"
            " ORDER BY number LIMIT 500",
            (at,),
        ).fetchall():
            for number, sealed in rows:
                at = number
                yield number, self._open(sealed)
