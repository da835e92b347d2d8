"""The demo (`make demo`): ingests real DICOM files, with every service embedded."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pacsgrid.embedded.sample_data import make_samples
from pacsgrid.embedded.stack import COPIES, RESEARCHER, ROOT, STEWARD, Stack
from pacsgrid.embedded.viewer import NotInstalledError, install_viewer
from pacsgrid.grid import study_collection
from pacsgrid.ledger import HeldRecord
from pacsgrid.model import StudyState
from pacsgrid.pipeline import ProjectContext


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo, and return 0 only if every instance is verified in both zones."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("var/demo"))
    parser.add_argument("--keep", type=int, default=1, help="0 to end when the ingest is done")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {text}", flush=True)

    try:
        viewer = install_viewer(ROOT / "var" / "viewer")
    except NotInstalledError as error:
        viewer = None
        say(f"no viewer: {error}; the demo goes on without it")

    def fill(stack: Stack) -> None:
        say("starting the gateway")
        stack.start_gateway()
        say("sending DICOM files with invented Czech patients to the PACS")
        samples = make_samples(stack.dir / "samples")
        stack.pacs.load(samples)
        say(f"{len(samples)} instances are in the PACS; waiting for Airflow")

    stack = Stack(options.dir, say=say, viewer=viewer, meanwhile=fill)
    try:
        with stack:
            say("starting the DAG ingest_studies")
            state = stack.watch(stack.trigger({"source": "pacs", "project": "demo"}))
            say(f"the run ended: {state}")
            proven = _report(stack, viewer is not None)
            if options.keep:
                print("\nEverything keeps running until you press Ctrl-C.", flush=True)
                while True:
                    time.sleep(3600)
            return 0 if state == "success" and proven else 1
    except KeyboardInterrupt:
        say("stopped")
        return 0 if options.keep else 130


def held_lines(held: Sequence[HeldRecord]) -> list[str]:
    """Describe what is held: studies and files counted apart, and one line for each reason."""
    whole = {item.ref for item in held if item.whole}
    files = [item for item in held if not item.whole]
    of_studies = len({item.ref for item in files})
    lines = [
        f"held: {_plural(len(whole), 'whole study', 'whole studies')}, and "
        f"{_plural(len(files), 'file', 'files')} of {_plural(of_studies, 'study', 'studies')}"
    ]
    reasons: dict[str, list[HeldRecord]] = defaultdict(list)
    for item in held:
        reasons[item.code].append(item)
    for code, items in sorted(reasons.items()):
        studies = sum(item.whole for item in items)
        parts = [_plural(studies, "whole study", "whole studies")] if studies else []
        if studies < len(items):
            parts.append(_plural(len(items) - studies, "file", "files"))
        lines.append(f"  {code}: {', '.join(parts)}; {items[0].detail}")
    return lines


def _plural(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _report(stack: Stack, views: bool) -> bool:
    with ProjectContext(stack.site, "demo", actor="demo") as context:
        studies = context.ledger.studies.find("demo")
        held = context.ledger.held.queue("demo")
        copies: dict[tuple[str, str], list[str]] = defaultdict(list)
        instances = proven = 0
        fetch = shown = ""
        print(f"\n{'zone':8}{'resource':28}{'good':>6}{'bad':>5}  one recomputed checksum")
        bad: dict[tuple[str, str], int] = defaultdict(int)
        for study in studies:
            rows = context.ledger.instances.of_study(study.ref)
            proofs = context.ledger.proofs.of_study(study.ref)
            instances += len(rows)
            for proof in proofs:
                key = (proof.zone, proof.resource)
                if proof.good:
                    copies[key].append(proof.sha256)
                else:
                    bad[key] += 1
            for row in rows:
                good = [p.zone for p in proofs if p.good and p.sop_uid == row.sop_uid]
                proven += all(good.count(zone) >= n for zone, n in COPIES.items())
                fetch = study_collection("brno", "demo", row.subject, row.study_uid)
                if row.modality == "CT" or not shown:
                    shown = row.study_uid
        for key in sorted(set(copies) | set(bad)):
            sums = copies[key]
            one = f"sha256:{sums[0][:24]}…" if sums else "-"
            print(f"{key[0]:8}{key[1]:28}{len(sums):6}{bad[key]:5}  {one}")
        verified = sum(study.state is StudyState.VERIFIED for study in studies)
        print(f"\n{verified} of {len(studies)} studies verified; ", end="")
        print(f"{proven} of {instances} instances proven in both zones")
        print("\n".join(held_lines(held)))
        waiting = [s for s in studies if s.state not in (StudyState.VERIFIED, StudyState.HELD)]
    if views and shown:
        print(f"\nA study in the viewer, signed in as {RESEARCHER}:\n  {stack.gateway_link(shown)}")
    settings = stack.site.zone("brno")
    secret = stack.dir / "zone.password"
    print(
        f"""
Fetch a study with iCommands (host {settings.host}, port {settings.port}, user rods, zone brno,
password in {secret}):
  iget -r {fetch}
or with python-irodsclient:
  from irods.session import iRODSSession
  with iRODSSession(host="{settings.host}", port={settings.port}, user="rods", zone="brno",
                    password=open("{secret}").read()) as s:
      for c, _, objects in s.collections.get("{fetch}").walk():
          for o in objects: s.data_objects.get(o.path, o.name)

Airflow: {stack.url}  user {STEWARD}  password {stack.password()}""",
        flush=True,
    )
    return bool(instances) and proven == instances and not waiting


if __name__ == "__main__":
    sys.exit(main())
