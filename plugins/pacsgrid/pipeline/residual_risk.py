"""Residual risk: what review and random samples say about what may still identify somebody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pacsgrid import grid
from pacsgrid.deid.pixel.settings import RegionRule
from pacsgrid.errors import ConfigError
from pacsgrid.ledger.samples import CLEAN, SampleItem, SampleRecord
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.sampling import sample_size, upper_bound

FINDINGS = {
    "name": "a name, of the patient or of another person",
    "number": "an ID, accession, phone or other number of a person or visit",
    "date": "a date that the profile was to shift or remove",
    "address": "an address, or a place that identifies",
    "institution": "the name of a hospital, department or device",
    "face": "a face, or another feature by which a person is recognised",
    "other": "anything else that identifies",
}
"""The kinds of finding a reader may record, and what each means."""

COLUMNS = ("number", "modality", "path", "verdict")
"""The columns of a sample's sheet."""


@dataclass(frozen=True)
class SampleResult:
    """A sample, and what it proves so far.

    Attributes
    ----------
    sample
        The sample and its counts.
    bound
        The highest share of wrong instances that is not ruled out, with the plan's confidence.
    met
        Whether the bound is at most the plan's limit.
    """

    sample: SampleRecord
    bound: float
    met: bool


@dataclass(frozen=True)
class ResidualRisk:
    """What is known of the residual risk in a project.

    Attributes
    ----------
    project
        The project's name.
    studies
        How many studies are in each state.
    held
        How many studies and files are held now, by reason.
    decisions
        How many studies stewards decided about, by reason and then by verdict.
    samples
        The samples for a human double check.
    findings
        In how many sampled instances each kind of finding was made.
    device_rules
        The areas of known devices that the project's profile blanks.
    """

    project: str
    studies: dict[str, int]
    held: dict[str, int]
    decisions: dict[str, dict[str, int]]
    samples: list[SampleResult]
    findings: dict[str, int]
    device_rules: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)


def draw_sample(
    context: ProjectContext,
    release: str,
    modality: str,
    limit: float,
    confidence: float,
    who: str,
) -> int:
    """Draw a random sample of instances for a human double check.

    The sample is as large as needed, so that finding nothing in it rules the limit out.

    Parameters
    ----------
    context
        The project.
    release
        A release, whose newest version is drawn from; empty for all verified studies.
    modality
        Only instances of this modality; empty for all.
    limit
        The share of instances with something identifying that is to be ruled out, such as 0.01.
    confidence
        How surely, such as 0.95.
    who
        Who draws it.

    Returns
    -------
    int
        The sample's number.

    Raises
    ------
    ConfigError
        A number is out of range, no one is named, there is no such release, or nothing to draw.
    """
    if not 0 < limit < 1 or not 0.5 <= confidence < 1:
        raise ConfigError("the limit must be above 0 and below 100 %, the confidence 50 to 99.99 %")
    if not who.strip():
        raise ConfigError("the name of who draws the sample is missing")
    version = None
    if release:
        versions = context.ledger.releases.versions(context.project.name, release)
        kept = [one.version for one in versions if one.retired_at is None]
        if not kept:
            raise ConfigError(f"project {context.project.name} has no release named {release!r}")
        version = (release, max(kept))
    number = context.ledger.samples.draw(
        context.project.name,
        version,
        modality,
        (limit, confidence),
        partial(sample_size, limit=limit, confidence=confidence),
        who.strip(),
    )
    if not number:
        raise ConfigError("no verified instance is there to draw from; ingest, or ask for less")
    return number


def sample_sheet(context: ProjectContext, sample: int, who: str = "") -> list[dict[str, str]]:
    """Return a sample as rows of a table, for a reader to fill in the column ``verdict``.

    Parameters
    ----------
    context
        The project.
    sample
        The sample's number.
    who
        A reader, whose verdicts so far are shown; empty for an empty column.

    Returns
    -------
    list of dict
        One row an instance, with `COLUMNS`; the path is the data object's in the home zone, and
        empty if the patient withdrew.

    Raises
    ------
    ConfigError
        The project has no such sample.
    """
    return [
        {
            "number": str(item.number),
            "modality": item.instance.modality if item.instance else "",
            "path": _path(context, item),
            "verdict": item.verdicts.get(who, ""),
        }
        for item in _items(context, sample)
    ]


def _items(context: ProjectContext, sample: int) -> list[SampleItem]:
    items = context.ledger.samples.items(context.project.name, sample)
    if not items:
        raise ConfigError(f"project {context.project.name} has no sample number {sample}")
    return items


def _path(context: ProjectContext, item: SampleItem) -> str:
    if item.instance is None:
        return ""
    name = context.project.name
    return grid.object_path(context.project.home_zone, name, item.instance)


def record_verdicts(
    context: ProjectContext, sample: int, rows: Iterable[Mapping[str, str]], who: str
) -> int:
    """Enter what a reader wrote into a sample's sheet, all of it or nothing.

    Rows without a verdict are left for later. A verdict given again replaces the reader's earlier
    one; both stay on record.

    Parameters
    ----------
    context
        The project.
    sample
        The sample's number.
    rows
        Rows of the sheet: ``number``, ``path`` and ``verdict``, which is ``clean`` or one of
        `FINDINGS`.
    who
        The reader's name.

    Returns
    -------
    int
        How many verdicts were entered.

    Raises
    ------
    ConfigError
        No one is named, a row or verdict is wrong, or the sheet is of another sample.
    """
    if not who.strip():
        raise ConfigError("the name of the reader is missing")
    paths = {item.number: _path(context, item) for item in _items(context, sample)}
    given: dict[int, str] = {}
    for line, row in enumerate(rows, 2):
        verdict = (row.get("verdict") or "").strip().lower()
        if not verdict:
            continue
        number = (row.get("number") or "").strip()
        if not number.isdecimal() or int(number) not in paths:
            raise ConfigError(f"line {line}: sample {sample} has no instance of this number")
        if (row.get("path") or "").strip() != paths[int(number)]:
            raise ConfigError(f"line {line}: the path is not that of sample {sample}; another's?")
        if verdict != CLEAN and verdict not in FINDINGS:
            known = ", ".join((CLEAN, *FINDINGS))
            raise ConfigError(f"line {line}: the verdict is none of {known}")
        given[int(number)] = verdict
    if given:
        context.ledger.samples.add_verdicts(sample, who.strip(), sorted(given.items()))
    return len(given)


def residual_risk(context: ProjectContext) -> ResidualRisk:
    """Return what review and samples say about the residual risk in a project.

    Parameters
    ----------
    context
        The project.

    Raises
    ------
    RetryableError
        The ledger does not answer.
    """
    name = context.project.name
    ledger = context.ledger
    return ResidualRisk(
        project=name,
        studies=ledger.studies.count_by_state(name),
        held=ledger.held.count_by_code(name),
        decisions=ledger.audit.count_decisions(name),
        samples=[_result(sample) for sample in ledger.samples.of_project(name)],
        findings=ledger.samples.findings(name),
        device_rules=[_rule(one) for one in context.profile.pixels.regions],
    )


def _rule(rule: RegionRule) -> dict[str, Any]:
    return {
        "modality": rule.modality,
        "manufacturer": rule.manufacturer.pattern,
        "model": rule.model.pattern,
        "rows": rule.rows,
        "columns": rule.columns,
        "areas": len(rule.blank),
    }


def _result(sample: SampleRecord) -> SampleResult:
    bound = upper_bound(sample.population, sample.checked, sample.found, sample.confidence)
    return SampleResult(sample, bound, bound <= sample.share_limit + 1e-12)


def as_markdown(risk: ResidualRisk) -> str:
    """Return the report as a page of Markdown.

    Parameters
    ----------
    risk
        The report.
    """
    lines = [f"# Residual risk of project {risk.project}", ""]
    lines += _counts("Studies", "state", risk.studies)
    lines += _counts("Held now", "reason", risk.held)
    lines += ["## Decided by stewards", ""]
    lines += _table(
        ("reason", "verdict", "studies"),
        [
            (code, verdict, str(count))
            for code, verdicts in risk.decisions.items()
            for verdict, count in verdicts.items()
        ],
    )
    lines += ["## Random samples, looked at by people", ""]
    lines += _table(
        ("sample", "drawn", "from", "plan", "checked", "something found", "at most"),
        [_sample_row(one) for one in risk.samples],
    )
    if risk.samples:
        lines += [
            '"At most" is the share of instances with something identifying that the sample does '
            "not rule out, with the confidence of its plan (exact, one-sided). It speaks for the "
            "instances that the sample was drawn from.",
            "",
        ]
    lines += _counts("Found in samples", "kind", risk.findings)
    lines += ["## Device rules of the profile", ""]
    lines += _table(
        ("modality", "manufacturer", "model", "rows x columns", "areas"),
        [
            (
                rule["modality"] or "any",
                _pattern(rule["manufacturer"]),
                _pattern(rule["model"]),
                f"{rule['rows'] or 'any'} x {rule['columns'] or 'any'}",
                str(rule["areas"]),
            )
            for rule in risk.device_rules
        ],
    )
    return "\n".join(lines).rstrip() + "\n"


def _pattern(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`" if text else "any"


def _counts(title: str, what: str, counts: Mapping[str, int]) -> list[str]:
    return [f"## {title}", "", *_table((what, "count"), [(k, str(v)) for k, v in counts.items()])]


def _sample_row(one: SampleResult) -> tuple[str, ...]:
    sample = one.sample
    source = f"release {sample.release} v{sample.version}" if sample.release else "verified studies"
    return (
        str(sample.number),
        f"{sample.drawn_at:%Y-%m-%d}",
        f"{source}{', ' + sample.modality if sample.modality else ''}: {sample.population:,}",
        f"below {sample.share_limit:.3%} with {sample.confidence:.1%}",
        f"{sample.checked} of {sample.size}",
        str(sample.found),
        f"{one.bound:.3%}" + ("" if one.met else " (plan not met)"),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["None.", ""]
    body = ["| " + " | ".join(row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body, ""]
