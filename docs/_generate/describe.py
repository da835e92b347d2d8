"""Print the DAGs of a folder and the page's OpenAPI document as one line of JSON."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Param


def main(folder: Path) -> None:
    """Load everything and print it."""
    print(json.dumps({"dags": [_dag(path) for path in sorted(folder.glob("*.py"))],
                      "openapi": _openapi()}))  # fmt: skip


def _dag(path: Path) -> dict[str, Any]:
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    # As Airflow's DAG processor does, which collects what the file makes.
    DagContext.autoregistered_dags.clear()
    DagContext.current_autoregister_module_name = "builtins"
    runpy.run_path(str(path))
    DagContext.current_autoregister_module_name = None
    ((dag, _),) = DagContext.autoregistered_dags
    return {
        "id": dag.dag_id,
        "doc": dag.doc_md,
        "when": _when(dag.timetable),
        "tasks": [task.task_id for task in dag.tasks],
        "params": [_param(name, dag.params.get_param(name)) for name in dag.params],
    }


def _when(timetable: object) -> str:
    told: list[str] = []
    clock = getattr(timetable, "timetable", timetable)
    if expression := getattr(clock, "expression", None):
        told.append(f"by the clock (`{expression}`, in the site's `time_zone`)")
    if condition := getattr(timetable, "asset_condition", None):
        names = [asset.name for asset in condition.objects]
        told.append(f"when the asset `{'`, `'.join(names)}` is updated")
    return " and ".join(told) or "when it is triggered"


def _param(name: str, param: Param) -> dict[str, str]:
    schema = param.schema
    kinds = schema.get("type", "string")
    kinds = [one for one in ([kinds] if isinstance(kinds, str) else kinds) if one != "null"]
    limits = [f"{word} {schema[word]}" for word in ("minimum", "maximum") if word in schema]
    told = ", ".join([schema.get("format", kinds[0]), *limits])
    default = "" if param.value in (None, "", []) else f"`{json.dumps(param.value)}`"
    words = [schema.get("title", ""), schema.get("description") or param.description or ""]
    return {"name": name, "type": told, "default": default, "text": ": ".join(filter(None, words))}


def _openapi() -> dict[str, Any]:
    from fastapi.openapi.utils import get_openapi

    from pacsgrid.web.app import app

    return get_openapi(title="pacsgrid", version="1", routes=app.routes)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
