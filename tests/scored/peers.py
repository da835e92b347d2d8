"""The peers, each in a virtual environment of its own, run as their documentation says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = ("dicom-anonymizer", "dicognito", "deid", "idiscore")

# Run inside a peer's environment; reads {"in": ..., "out": ...} pairs and writes what it can.
RUNNER = r"""
import json, sys, warnings, logging
warnings.simplefilter("ignore"); logging.disable(logging.CRITICAL)
import pydicom
name, pairs = sys.argv[1], json.load(open(sys.argv[2]))
if name == "dicom-anonymizer":
    from dicomanonymizer import anonymize_dicom_file
    run = anonymize_dicom_file
elif name == "dicognito":
    from dicognito.anonymizer import Anonymizer
    one = Anonymizer()
    def run(a, b):
        ds = pydicom.dcmread(a); one.anonymize(ds); ds.save_as(b)
elif name == "deid":
    from deid.config import DeidRecipe
    from deid.dicom import get_identifiers, replace_identifiers
    recipe = DeidRecipe()
    def run(a, b):
        ids = get_identifiers([a])
        ds = replace_identifiers([a], ids=ids, deid=recipe, save=False, strip_sequences=False,
                                 remove_private=True)[0]
        ds.save_as(b)
else:
    from idiscore.core import Core, Profile
    from idiscore.defaults import create_core, get_dicom_rule_sets
    from idiscore.private_processing import SafePrivateBlock, SafePrivateDefinition
    safe = SafePrivateDefinition(blocks=[
        SafePrivateBlock(tags=["7053[Philips PET Private Group]00",
                               "7053[Philips PET Private Group]09",
                               "0019[SIEMENS MR HEADER]0c", "0019[SIEMENS MR HEADER]0e"])])
    sets = get_dicom_rule_sets(safe)
    core = create_core(Profile([
        sets.basic_profile, sets.clean_descriptors, sets.retain_patient_characteristics,
        sets.retain_safe_private]))
    def run(a, b):
        core.deidentify(pydicom.dcmread(a)).save_as(b)
failed = {}
for a, b in pairs:
    try:
        run(a, b)
    except Exception as error:
        failed[type(error).__name__] = failed.get(type(error).__name__, 0) + 1
print(json.dumps(failed))
"""


def prepare(name: str, root: Path) -> Path:
    """Create the peer's environment when it is not there; return its interpreter."""
    home = root / name
    python = home / "bin" / "python"
    if not (home / ".ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        uv = shutil.which("uv", path=str(Path(sys.executable).parent))
        install = [uv, "pip", "install", "-q", "-p", str(python)] if uv else [
            str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]  # fmt: skip
        subprocess.run([*install, name], check=True)
        (home / ".ready").touch()
    return python


def version(python: Path, name: str) -> str:
    """Return the installed release of a peer."""
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def anonymise(
    python: Path, name: str, inputs: dict[str, Path], out: Path
) -> tuple[dict[str, Path], dict[str, int]]:
    """Run a peer over all files; return what it wrote, and its failures by kind."""
    out.mkdir(parents=True)
    targets = {key: out / path.name for key, path in inputs.items()}
    pairs = out / "pairs.json"
    pairs.write_text(json.dumps([[str(inputs[key]), str(targets[key])] for key in inputs]))
    done = subprocess.run(
        [str(python), "-c", RUNNER, name, str(pairs)], capture_output=True, text=True, cwd=out
    )
    if done.returncode:
        raise RuntimeError(f"{name} did not run: {done.stderr.strip().splitlines()[-1]}")
    failed = json.loads(done.stdout.strip().splitlines()[-1])
    return {key: path for key, path in targets.items() if path.exists()}, failed
