"""Our own side of the benchmark: each study collected, anonymised and checked by itself."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from pydicom import dcmread

from pacsgrid.deid import Checker, Pseudonyms, anonymise_file, collect_identifiers, load_profile
from pacsgrid.errors import HeldError

from .studies import Studies


def anonymise(studies: Studies, out: Path, profile_name: str) -> tuple[dict[str, Path], list[str]]:
    """Return the output of each input, and the reasons of those that were held."""
    profile, pseudonyms = load_profile(profile_name), Pseudonyms(b"b" * 32, "bench")
    by_study: dict[str, list[str]] = defaultdict(list)
    for name, path in studies.inputs.items():
        by_study[str(dcmread(path, stop_before_pixels=True).StudyInstanceUID)].append(name)
    outputs, held = {}, []
    for names in by_study.values():
        identifiers = collect_identifiers([studies.inputs[name] for name in names])
        checker = Checker(profile)
        for name in names:
            try:
                made = anonymise_file(studies.inputs[name], out, pseudonyms, profile, identifiers)
                checker.check(studies.inputs[name], made.path)
                outputs[name] = made.path
            except HeldError as error:
                held.append(str(error))
    return outputs, held
