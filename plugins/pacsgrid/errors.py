"""The one exception tree of pacsgrid.

Every error says whether trying again can help (`retryable`); the pipeline turns the
others into a held study or a clear message. No message may carry an identifying value.
"""

from __future__ import annotations


class PacsgridError(Exception):
    """Base of all errors pacsgrid raises on purpose."""

    retryable = False


class RetryableError(PacsgridError):
    """The same call may succeed later: a peer is down, busy or was cut off."""

    retryable = True


class StorageError(RetryableError, OSError):
    """A folder of ours cannot be written: the disk is full, over quota or broken.

    Its text names the folder and what to do.
    """


class ConfigError(PacsgridError):
    """A setting is missing or wrong; the message names the setting and what to do."""


class SourceError(PacsgridError):
    """A DICOM source refused for good (unknown AE title, no accepted context)."""


class SourceUnavailableError(RetryableError):
    """A DICOM source did not answer, was busy or dropped the association."""


class SourceUnreachableError(SourceUnavailableError):
    """A DICOM source did not answer at all: it is down, or the way to it is."""


class TooManyAnswersError(SourceUnavailableError):
    """A DICOM source has more answers to a query than it gives; query less at once."""


class RegisterUnavailableError(RetryableError):
    """A register of pseudonyms or of consent gave no answer that can be used.

    Its text names the setting and what to do, and quotes nothing of the answer.
    """


class ProviderUnavailableError(RetryableError):
    """The OpenID Connect provider gave no answer that can be used."""


class LoginRefusedError(PacsgridError):
    """A login or a token is not accepted; the text says why, and quotes nothing of a token."""


class NotAllowedError(LoginRefusedError):
    """Somebody is who they say, and has no right here."""


class ZoneError(PacsgridError):
    """An iRODS zone refused for good."""


class ZoneUnavailableError(RetryableError):
    """An iRODS zone did not answer or dropped the connection."""


class ResourceUnavailableError(RetryableError, ZoneError):
    """An iRODS zone answers, but a resource that it needs is down, full or not mounted.

    Who handles a zone's refusal of one replica handles this too; a whole study is tried again.
    """


class WorkFilesMissingError(PacsgridError):
    """What an earlier step left in staging or outbox is not there; retrieve the study again."""


class ConflictError(PacsgridError):
    """An object with other content already stands where this one belongs."""


class NotWantedError(PacsgridError):
    """The project's series selection wants no series of this study."""


class HeldError(PacsgridError):
    """An instance or a study that cannot go on and waits for a steward.

    Parameters
    ----------
    code
        Short stable reason, such as ``not-dicom``, ``truncated``, ``no-study-uid``,
        ``duplicate-conflict``, ``identity-left``.
    detail
        What was seen and what to do, free of identifying values.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class NotTakenError(HeldError):
    """An object that was sent back as a result and is refused: nothing waits, its sender hears why.

    Parameters
    ----------
    code, detail
        As of `HeldError`; the detail is for the sender.
    """
