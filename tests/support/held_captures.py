"""Secondary captures, which every profile holds, and what was released of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pacsgrid.pipeline import ProjectContext
from support.images import header, write


def capture(path: Path, study: str, number: int, model: str, text: str = "") -> None:
    """Write a secondary capture of 200 x 160 pixels, with a text in its upper left corner."""
    ds = header("OT", f"{study}.{number}")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.0"
    ds.Manufacturer, ds.ManufacturerModelName, ds.SeriesDescription = "ACME", model, "Screen Save"
    picture = Image.fromarray(_anatomy(number))
    if text:
        ImageDraw.Draw(picture).text((14, 12), text, 255, ImageFont.load_default(20))
    write(path, ds, np.asarray(picture)[None], "MONOCHROME2")


def _anatomy(number: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:160, 0:200]
    return (60 + 50 * np.sin((x + number) / 17) * np.cos(y / 23)).astype(np.uint8)


def released(context: ProjectContext, ref: str, folder: Path) -> list[Path]:
    """Fetch the captures of a study from its home zone."""
    found = []
    for row in context.ledger.instances.of_study(ref):
        if row.modality == "OT":
            home = f"/{context.home.settings.name}/home/{context.project.name}/data"
            place = f"{home}/{row.subject}/{row.study_uid}/{row.series_uid}/{row.sop_uid}.dcm"
            target = folder / f"{row.sop_uid}.dcm"
            with context.home.session.data_objects.open(place, "r") as data:
                target.write_bytes(data.read())
            found.append(target)
    return found
