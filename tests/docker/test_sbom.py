"""The bill of materials of an image, from the lists of packages that it holds."""

from __future__ import annotations

import json
import subprocess
import sys

from support.compose_stack import DOCKER

DEBIAN = "curl\t7.88.1-10+deb12u14\nlibssl3:amd64\t3.0.17-1~deb12u2\n"
PYTHON = {"metadata": {"name": "Pydicom_X", "version": "3.0.1", "license_expression": "MIT"}}
VIEWER = {"name": "@ohif/app", "version": "3.13.2", "license": "MIT"}


def _bill(image: str, *lists: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, DOCKER / "sbom.py", image],
        input="\f".join(lists),
        capture_output=True,
        text=True,
        check=True,
    )
    read: dict[str, object] = json.loads(done.stdout)
    return read


def test_packages_of_each_kind_are_components() -> None:
    lists = DEBIAN, json.dumps({"installed": [PYTHON]}), json.dumps(VIEWER)
    bill = _bill("pacsgrid/pacsgrid:0.1.0", *lists)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert [one["purl"] for one in bill["components"]] == [  # type: ignore[attr-defined]
        "pkg:deb/debian/curl@7.88.1-10%2Bdeb12u14",
        "pkg:deb/debian/libssl3@3.0.17-1~deb12u2?arch=amd64",
        "pkg:npm/%40ohif/app@3.13.2",
        "pkg:pypi/pydicom-x@3.0.1",
    ]
    assert bill == _bill("pacsgrid/pacsgrid:0.1.0", *lists)
    assert bill["serialNumber"] != _bill("pacsgrid/redis:7.0", *lists)["serialNumber"]


def test_a_package_has_the_licence_that_it_names() -> None:
    said = (
        {"license_expression": "BSD-3-Clause", "license": "ignored"},
        {"classifier": ["License :: OSI Approved :: MIT License"]},
        {"license": "MIT"},
        {"license": "A text\nof many lines"},
    )
    about = [{"metadata": {"name": f"p{n}", "version": "1", **one}} for n, one in enumerate(said)]
    bill = _bill("pacsgrid/pacsgrid:0.1.0", DEBIAN, json.dumps({"installed": about}), "")
    assert [one.get("licenses") for one in bill["components"]][2:] == [  # type: ignore[attr-defined]
        [{"expression": "BSD-3-Clause"}],
        [{"license": {"name": "MIT License"}}],
        [{"license": {"name": "MIT"}}],
        None,
    ]


def test_an_image_without_python_has_debians_packages_alone() -> None:
    assert len(_bill("pacsgrid/redis:7.0", DEBIAN, "", "")["components"]) == 2  # type: ignore[arg-type]
