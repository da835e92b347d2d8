"""Build the receiver of a site file and run it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pacsgrid.config import Site
from pacsgrid.errors import ConfigError
from pacsgrid.model import StudyQuery
from pacsgrid.pacs import open_source
from pacsgrid.pacs.storage_scp.asset_events import AssetEvents
from pacsgrid.pacs.storage_scp.completion_watcher import CompleteStudy, CompletionWatcher
from pacsgrid.pacs.storage_scp.service import StorageService

log = logging.getLogger(__name__)


def serve(site: Site, commit: Callable[[], None] | None = None) -> None:
    """Receive until SIGTERM or SIGINT.

    Parameters
    ----------
    site
        The site settings.
    commit
        Answers requests for storage commitment; runs in a process of its own, where the settings
        name nodes that may ask for it.

    Raises
    ------
    ConfigError
        The site file has no receiver, or its settings cannot be used.
    """
    settings = site.receiver
    if settings is None:
        raise ConfigError("the site file has no 'receiver' section")
    if not settings.allow:
        raise ConfigError("receiver: allow is empty, so no peer could send; list the peers")

    def watch() -> None:
        events = AssetEvents(
            settings.airflow_url,
            settings.airflow_user,
            settings.airflow_password.get_secret_value(),
            settings.asset,
            {"source": settings.source, "project": settings.project},
            settings.airflow_ca_file,
        )

        def announce(_study: CompleteStudy) -> None:
            if settings.airflow_url:
                events.announce()

        def count(study_uid: str) -> int | None:
            source = open_source(site.source(settings.count_from))
            found = source.find_studies(StudyQuery(study_uids=(study_uid,)))
            return next((study.instances for study in found), None)

        CompletionWatcher(
            settings.folder,
            settings.quiet_seconds,
            settings.count_seconds,
            announce,
            count if settings.count_from else None,
        ).run()

    service = StorageService(settings, watch, commit if settings.commitment else None)
    log.info("%s listens on port %d", settings.ae_title, service.port)
    service.run()
