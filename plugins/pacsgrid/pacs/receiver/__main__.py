"""`python -m pacsgrid.pacs.receiver`: the receiver that the site file describes."""

from __future__ import annotations

import logging
import sys

from pacsgrid.config import Site, load_site
from pacsgrid.errors import ConfigError, PacsgridError
from pacsgrid.model import StudyQuery
from pacsgrid.pacs import open_source
from pacsgrid.pacs.receiver.airflow import AssetEvents
from pacsgrid.pacs.receiver.service import Service
from pacsgrid.pacs.receiver.watch import Complete, Watcher

log = logging.getLogger("pacsgrid.pacs.receiver")


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
            settings.airflow_password,
            settings.asset,
        )

        def announce(study: Complete) -> None:
            if settings.airflow_url:
                events.announce(study)

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


def main() -> int:
    """Run the receiver; gives the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(load_site())
    except PacsgridError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
