"""The generated parts of the reference, by the names that pages use."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import acquisition
import commands
import live
import settings

GENERATORS: dict[str, Callable[[], str]] = {
    "acquisition-elements": cache(acquisition.elements),
    "acquisition-fields": cache(acquisition.fields),
    "acquisition-words": cache(acquisition.words),
    "cli": cache(commands.reference),
    "dags": cache(live.dags),
    "profile": cache(settings.profile),
    "rest": cache(live.rest),
    "site-file": cache(settings.site_file),
}
