"""The reference of the DAGs and of the page's REST API, asked of Airflow and FastAPI themselves.

They are loaded in a process of their own: Airflow configures logging and warns when it is imported.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tables import table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@cache
def described() -> dict[str, Any]:
    """Return the DAGs and the OpenAPI document as `describe.py` prints them."""
    with tempfile.TemporaryDirectory(prefix="pacsgrid-docs-") as home:
        environment = {
            **{k: v for k, v in os.environ.items() if k != "PACSGRID_SITE"},
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PYTHONPATH": str(ROOT / "plugins"),
        }
        done = subprocess.run(
            [sys.executable, HERE / "describe.py", ROOT / "dags"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"describe.py failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def dags() -> str:
    """Return a section for each DAG: when it runs, what it does, and its form."""
    parts = []
    for one in described()["dags"]:
        title, _, text = one["doc"].partition("\n")
        parts.append(f"## {one['id']}")
        parts.append(f"**{title.lstrip('# ')}.** Runs {one['when']}. Tasks: {_code(one['tasks'])}.")
        parts.append(text.strip())
        if one["params"]:
            rows = [(f"`{p['name']}`", p["type"], p["default"], p["text"]) for p in one["params"]]
            parts.append(table(("parameter", "type", "default", "meaning"), rows))
    return "\n\n".join(parts)


def rest() -> str:
    """Return a section for each address of the page's API, and one for each model of answers."""
    document = described()["openapi"]
    parts = ["## Requests"]
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            parts.append(f"### {method.upper()} /pacsgrid{path}")
            parts.append(one.get("description", one.get("summary", "")))
            if parameters := one.get("parameters"):
                rows = [
                    (f"`{p['name']}`", p["in"], _schema(p["schema"]), _given(p)) for p in parameters
                ]
                parts.append(table(("parameter", "in", "type", "default"), rows))
            if body := one.get("requestBody"):
                parts.append(f"Body: {_schema(body['content']['application/json']['schema'])}.")
            answer = one["responses"]["200"].get("content", {}).get("application/json", {})
            if told := _schema(answer.get("schema", {})):
                parts.append(f"Answers {told}.")
    parts.append("## Models")
    for name, model in document["components"]["schemas"].items():
        if "ValidationError" in name:
            continue
        parts.append(f"### {name}")
        parts.append(_paragraph(model.get("description", "")))
        if "enum" in model:
            parts.append(f"One of {_code(model['enum'])}.")
        elif properties := model.get("properties"):
            rows = [(f"`{key}`", _schema(value)) for key, value in properties.items()]
            parts.append(table(("key", "type"), rows))
    return "\n\n".join(part for part in parts if part)


def _given(parameter: dict[str, Any]) -> str:
    if parameter.get("required"):
        return "**required**"
    default = parameter["schema"].get("default")
    return "" if default in (None, "") else f"`{default}`"


def _schema(schema: dict[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf"):
        return " or ".join(_schema(one) for one in choices)
    if schema.get("type") == "array":
        return f"list of {_schema(schema.get('items', {})) or 'values'}"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"object of {_schema(inner)}" if isinstance(inner, dict) else "object"
    limits = [f"{name} {schema[name]}" for name in ("minimum", "maximum") if name in schema]
    return ", ".join(filter(None, [schema.get("format") or schema.get("type", ""), *limits]))


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _paragraph(text: str) -> str:
    return re.split(r"\n\n(?:Attributes|Parameters)\n", text)[0].replace("``", "`")
