"""The exceptions that pacsgrid raises on purpose.

Each class says whether the same call may succeed later (`retryable`). The pipeline tries those
again, and turns the others into a held study or a failed task with a clear message. No message
may contain an identifying value.
"""

from __future__ import annotations


class PacsgridError(Exception):
    """Base of all exceptions that pacsgrid raises on purpose.

    Attributes
    ----------
    retryable
        Whether the same call may succeed later without anyone doing anything.
    """

    retryable = False


class RetryableError(PacsgridError):
    """The same call may succeed later: a peer is down, busy, or the connection was cut."""

    retryable = True


class StorageError(RetryableError, OSError):
    """A local folder cannot be written: the disk is full, over quota or broken.

    The message names the folder and says what to do.
    """


class ConfigError(PacsgridError):
    """A setting is missing or wrong; the message names the setting and says what to do."""


class SourceError(PacsgridError):
    """A DICOM source refuses permanently, such as an unknown AE title or no accepted context."""


class SourceUnavailableError(RetryableError):
    """A DICOM source does not answer, is busy, or dropped the association."""


class SourceUnreachableError(SourceUnavailableError):
    """A DICOM source does not answer at all: it is down, or the network to it is."""


class TooManyAnswersError(SourceUnavailableError):
    """A query matches more studies than the source returns at once; ask for less."""


class ZoneError(PacsgridError):
    """An iRODS zone refuses permanently."""


class ZoneUnavailableError(RetryableError):
    """An iRODS zone does not answer, or dropped the connection."""


class ResourceUnavailableError(RetryableError, ZoneError):
    """An iRODS zone answers, but a resource that it needs is down, full or not mounted.

    It is a `ZoneError`, so code that handles a refused replica handles it too. It is retryable,
    so a whole study is tried again.
    """


class WorkFilesMissingError(PacsgridError):
    """Files of an earlier step are missing from staging or outbox; retrieve the study again."""


class ConflictError(PacsgridError):
    """An object with different content already exists at this path."""


class HeldError(PacsgridError):
    """An instance or a study cannot go on and waits for a steward.

    Parameters
    ----------
    code
        Short stable reason, such as ``not-dicom``, ``truncated``, ``no-study-uid``,
        ``duplicate-conflict``, ``identity-left``.
    detail
        What was seen and what to do, without identifying values.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
