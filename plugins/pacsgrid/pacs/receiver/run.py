"""The receiver that the site file describes, put together from its parts."""

from __future__ import annotations

import logging

from pacsgrid.config import Site
from pacsgrid.errors import ConfigError
from pacsgrid.model import StudyQuery
from pacsgrid.pacs import open_source
from pacsgrid.pacs.receiver.airflow import AssetEvents
from pacsgrid.pacs.receiver.service import Service
from pacsgrid.pacs.receiver.watch import Complete, Watcher

log = logging.getLogger(__name__)


def serve(site: Site) -> None:
    """Receive until told to stop.

    Raises
    ------
    ConfigError
        The site file has no receiver, or it cannot be started as told.
    """
    settings = site.receiver
    if settings is None:
        raise ConfigError("the site file has no 'receiver' section")
    if not settings.allow:
        raise ConfigError("receiver: allow is empty, so nobody could send")

    def watch() -> None:
        events = AssetEvents(
            settings.airflow_url,
            settings.airflow_user,
            settings.airflow_password.get_secret_value(),
            settings.asset,
            {"source": settings.source, "project": settings.project},
            settings.airflow_ca_file,
        )

        def announce(_study: Complete) -> None:
            if settings.airflow_url:
                events.announce()

        def count(study_uid: str) -> int | None:
            source = open_source(site.source(settings.count_from))
            found = source.find_studies(StudyQuery(study_uids=(study_uid,)))
            return next((study.instances for study in found), None)

        Watcher(
            settings.folder,
            settings.quiet_seconds,
            settings.count_seconds,
            announce,
            count if settings.count_from else None,
        ).run()

    service = Service(settings, watch)
    log.info("%s listens on port %d", settings.ae_title, service.port)
    service.run()
