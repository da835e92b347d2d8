"""What the DAG `return_results` calls: it describes, a steward approves, and only then it sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pacsgrid.airflow.tasks import project_context
from pacsgrid.errors import ConfigError


def describe(params: Mapping[str, Any]) -> dict[str, str]:
    """Describe what a run would send back.

    Parameters
    ----------
    params
        The run's parameters: ``project``, ``result``, ``destination``.

    Returns
    -------
    dict of str to str
        ``subject`` and ``body`` of the question for the steward.
    """
    with project_context(params, "return_results") as context:
        result = context.ledger.results.get(params["result"])
        if result is None or result.project != params["project"]:
            raise ConfigError(f"project {params['project']} has no result {params['result']}")
        if params["destination"] not in context.site.returns:
            raise ConfigError(f"returns of the site file has no {params['destination']!r}")
        items = context.ledger.results.items(result.ref)
        software = "".join(f"\n- {one}" for one in sorted({item.software for item in items}))
        return {
            "subject": f"Return result {result.name} to {params['destination']}",
            "body": f"{len(items)} objects of {result.ref}, sent by "
            f"{', '.join(sorted({item.who for item in items}))}, made with:\n{software}\n\nThey "
            "go back **under the patient's own identifiers**.",
        }


def send(params: Mapping[str, Any], run: str) -> int:
    """Send the result back.

    Parameters
    ----------
    params
        The run's parameters, as for `describe`.
    run
        The run's id, which names who asked and who approved in Airflow's own trail.

    Returns
    -------
    int
        How many objects were sent.
    """
    with project_context(params, "return_results") as context:
        from pacsgrid.pipeline.return_results import return_result

        reason = "approved by a steward in Airflow"
        who = f"return_results {run}"
        return return_result(context, params["result"], params["destination"], who, reason)
