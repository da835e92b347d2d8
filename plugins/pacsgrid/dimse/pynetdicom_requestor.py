"""Associations that pynetdicom requests: C-ECHO, C-FIND and C-MOVE, whose datasets are small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from pacsgrid.dimse.association_settings import AssociationSettings
from pacsgrid.dimse.reactor import work_around_races


@contextmanager
def open_association(
    settings: AssociationSettings, contexts: Sequence[PresentationContext]
) -> Iterator[Association]:
    """Request an association and release it at the end.

    Parameters
    ----------
    settings
        The peer and how to associate with it.
    contexts
        The presentation contexts to propose.

    Yields
    ------
    Association
        Not established if the peer was not reached or rejected it; callers must look.
    """
    entity = AE(ae_title=settings.calling_ae_title)
    entity.connection_timeout = settings.connect_seconds
    entity.acse_timeout = settings.connect_seconds
    entity.dimse_timeout = settings.answer_seconds
    entity.network_timeout = settings.idle_seconds
    identity = settings.user_identity()
    association = entity.associate(
        settings.host,
        settings.port,
        contexts=list(contexts),
        ae_title=settings.called_ae_title,
        max_pdu=settings.max_pdu,
        ext_neg=[identity] if identity else None,
        tls_args=(settings.tls, settings.host) if settings.tls else None,
    )
    try:
        work_around_races(association)
        yield association
    finally:
        if association.is_established:
            association.release()
