"""The command line's reference, from its argument parsers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from tables import table

from pacsgrid.cli.commands import COMMANDS, build_parser


def parser() -> argparse.ArgumentParser:
    """Return the parser of `pacsgrid` with every sub-command's arguments."""
    return build_parser(declared=[command.name for command in COMMANDS])


def subcommands(whole: argparse.ArgumentParser) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Return each sub-command's one line of help and its parser, by name."""
    (action,) = (a for a in whole._actions if isinstance(a, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
    return {name: (helps.get(name, ""), one) for name, one in sorted(action.choices.items())}


def reference() -> str:
    """Return a section for each sub-command."""
    parts = []
    for name, (line, one) in subcommands(parser()).items():
        usage = re.sub(r"\n +", "\n    ", one.format_usage().removeprefix("usage: ").strip())
        parts += [f"## pacsgrid {name}", _sentence(one.description or line)]
        parts += [f"```text\n{usage}\n```", table(("argument", "default", "meaning"), _rows(one))]
    return "\n\n".join(part for part in parts if part)


def _rows(one: argparse.ArgumentParser) -> Iterator[tuple[str, str, str]]:
    for action in one._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(action.option_strings)
        spelled = " ".join(part for part in (names, _value(action)) if part)
        told = one._get_formatter()._expand_help(action) if action.help else ""
        meaning, _, default = told.partition(" (default: ")
        yield f"`{spelled}`", default.removesuffix(")"), meaning


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    name = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    return " ".join(name) if isinstance(name, tuple) else name


def _sentence(text: str) -> str:
    text = " ".join(text.split()).replace("%%", "%")
    return text[:1].upper() + text[1:] + ("" if not text or text[-1] in ".!?" else ".")
