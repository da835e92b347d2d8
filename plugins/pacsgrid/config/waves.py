"""Waves: how much one run of `ingest_studies` takes."""

from __future__ import annotations

from pydantic import Field

from pacsgrid.config.base import Section


class WaveSection(Section):
    """The section `wave`: how much one run of `ingest_studies` takes; the next takes the rest.

    A wave has no more batches than Airflow's `core.max_map_length` allows either.
    """

    studies: int = Field(default=1024, ge=1, description="How many studies a wave has at most.")
    instances: int = Field(
        default=200_000,
        ge=0,
        description="How many instances a wave has at most; 0 for no limit. A study of which the "
        "source does not say it counts as much as the source's studies had lately.",
    )
    gigabytes: float = Field(
        default=100,
        ge=0,
        description="How many gigabytes (10^9 bytes) a wave has at most; 0 for no limit. Counted "
        "as instances are.",
    )
