"""What the DAG `derive_bids` calls: between tasks go pseudonymous study UIDs, never data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from pacsgrid.airflow.tasks import project_context

if TYPE_CHECKING:
    from pacsgrid.pipeline import ProjectContext
    from pacsgrid.pipeline.bids import Derivative

_ACTOR = "derive_bids"


def _open(context: ProjectContext, params: Mapping[str, Any], version: int = 0) -> Derivative:
    from pacsgrid.pipeline.bids import open_derivative

    return open_derivative(context, params["name"], version or int(params.get("version") or 0))


def plan(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return batches of the studies that are not converted yet.

    Parameters
    ----------
    params
        The run's parameters: ``project``, ``name`` and ``version`` of the release.

    Returns
    -------
    list of dict
        Each batch's release ``version`` and pseudonymous study UIDs, ``studies``.
    """
    from airflow.configuration import conf

    most = conf.getint("core", "max_map_length", fallback=1024)
    with project_context(params, _ACTOR) as context:
        derivative = _open(context, params)
        pending = derivative.pending()
        size = max(context.site.batch_size, math.ceil(len(pending) / most))
        return [
            {"version": derivative.version, "studies": pending[start : start + size]}
            for start in range(0, len(pending), size)
        ]


def convert(params: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, int]:
    """Convert a batch of studies.

    Parameters
    ----------
    params
        The run's parameters, as for `plan`.
    batch
        What `plan` returned.

    Returns
    -------
    dict
        How many studies were converted, taken over, refused or there already.
    """
    with project_context(params, _ACTOR) as context:
        from pacsgrid.pipeline.bids import convert_studies

        return dict(convert_studies(_open(context, params, batch["version"]), batch["studies"]))


def finish(params: Mapping[str, Any], batches: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Write the data set's documents, and return what it holds.

    Parameters
    ----------
    params
        The run's parameters, as for `plan`.
    batches
        What `plan` returned.

    Returns
    -------
    dict
        Its numbers of studies, images, series left out and refused studies, and its version.
    """
    with project_context(params, _ACTOR) as context:
        from pacsgrid.pipeline import bids

        version = next((batch["version"] for batch in batches), 0)
        derivative = _open(context, params, version)
        return {**bids.finish(derivative), "version": derivative.version}


def copy(params: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, int]:
    """Bring every zone's copy of the data set up to date, and prove it.

    Parameters
    ----------
    params
        The run's parameters, as for `plan`.
    counts
        What `finish` returned.

    Returns
    -------
    dict
        How many zones have a proven copy, how many do not answer, and how many files were copied.

    Raises
    ------
    AirflowFailException
        Studies were refused, since what became of them holds an identifying value.
    """
    with project_context(params, _ACTOR) as context:
        from pacsgrid.pipeline import bids

        done = bids.replicate(context, params["name"], counts["version"])
    if counts["refused"]:
        raise AirflowFailException(
            f"{counts['refused']} studies were refused; code/conversion.tsv says why"
        )
    return {"proven": done.proven, "postponed": done.postponed, "copied": done.copied}
