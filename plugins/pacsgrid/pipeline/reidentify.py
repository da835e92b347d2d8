"""Re-identify: open a pseudonym for an authorised person, with a reason, always on record."""

from __future__ import annotations

from collections.abc import Iterator

from pacsgrid.errors import ConfigError
from pacsgrid.ledger import Ledger, Vault
from pacsgrid.pacs.query_check import QUERY_KEYS
from pacsgrid.pipeline.pseudonym import check_question


def reidentify(
    dsn: str, vault_key: bytes, project: str, pseudonym: str, who: str, reason: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Open the vault for a pseudonym.

    Who asked, why and for which study is written to the ledger's append-only record before
    anything is opened, so that an attempt with a wrong key is on record too.

    Parameters
    ----------
    dsn
        The ledger's connection string.
    vault_key
        The site's vault key.
    project
        The project's name.
    pseudonym
        A subject, a study, series or SOP instance UID, or a study's reference.
    who
        Who asks: a name from the site's register of authorised persons.
    reason
        Why, in a sentence of at least ten characters.

    Yields
    ------
    tuple
        A study's reference, and what identifies it.

    Raises
    ------
    ConfigError
        `who` or `reason` is missing, the pseudonym is not known, or the key is not the vault's.
    RetryableError
        The ledger does not answer; then nothing is opened.
    """
    who, reason = who.strip(), reason.strip()
    check_question(who, reason)
    vault = Vault(vault_key)
    ledger = Ledger(dsn, who)
    refs = ledger.studies.find_by_pseudonym(project, pseudonym)
    if not refs:
        raise ConfigError(f"project {project} has no pseudonym {pseudonym!r}")
    for ref in refs:
        ledger.audit.add_access(who, ref, "identity", reason)
        identity = vault.open(ref, ledger.vault.sealed(ref))
        # The query that found the study may name other patients too.
        yield ref, {key: identity[key] for key in identity if key not in QUERY_KEYS}
