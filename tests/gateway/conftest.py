"""Zones for a single test, and a shared read-only pair beside an Orthanc with the same files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from pacsgrid.embedded.pacs import EmbeddedPacs
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.grid.sharing import share
from support.dicom import ct
from support.seeded import number_of
from support.served_zones import PROJECT, Client, Listening, ServedZones, copy_of

# Uncompressed and compressed images, colour, several frames, and objects that are not images.
FILES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "693_J2KI.dcm",
    "JPEG-LL.dcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "emri_small.dcm",
    "emri_small_jpeg_2k_lossless.dcm",
    "liver_1frame.dcm",
    "image_dfl.dcm",
    "examples_palette.dcm",
    "reportsi.dcm",
    "rtplan.dcm",
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedZones]:
    with ServedZones(tmp_path) as zones:
        yield zones


@dataclass
class Shown:
    """A gateway over two zones that hold `paths`, and an Orthanc that holds them too."""

    zones: ServedZones
    gateway: Gateway
    root: str
    paths: list[Path]
    orthanc: EmbeddedPacs

    def client(self, name: str = "eva") -> Client:
        return Client(self.root, name)

    @property
    def reference(self) -> Client:
        return Client(self.orthanc.settings("web").url, "")

    def path(self, name: str) -> Path:
        return next(path for path in self.paths if path.name == name)

    def resource(self, name: str) -> str:
        """Return the path of an instance's resource."""
        ds = dcmread(self.path(name), stop_before_pixels=True)
        return (
            f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
            f"/instances/{ds.SOPInstanceUID}"
        )


def files(folder: Path) -> list[Path]:
    """Return files from pydicom, with unique instance UIDs, and a generated study of two series."""
    found: list[Path] = []
    seen: set[str] = set()
    for name in FILES:
        path = copy_of(str(get_testdata_file(name)), folder / name)
        ds = dcmread(path)
        if str(ds.SOPInstanceUID) in seen:  # the same image in other syntaxes
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.{number_of(name)}"
            ds.save_as(path)
        seen.add(str(ds.SOPInstanceUID))
        found.append(path)
    for number in range(6):
        path = ct(folder / f"ct{number}.dcm", "1.2.840.77", f"1.2.840.77.9.{number}", "Sub^One")
        ds = dcmread(path)
        ds.SeriesInstanceUID = f"1.2.840.77.{1 + number // 4}"
        ds.SeriesNumber, ds.InstanceNumber = 1 + number // 4, number
        ds.StudyDescription = "Hlava [nativ]"
        ds.save_as(path)
        found.append(path)
    return found


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("shown")
    paths = files(folder / "in")
    with ServedZones(folder) as zones, EmbeddedPacs(folder / "orthanc") as orthanc:
        assert orthanc.load(paths) == len(paths)
        zones.add(paths)
        share(zones.home, PROJECT, ["eva#brno"])
        generated = next(study for study in zones.studies if study.study == "1.2.840.77")
        zones.grant("jan#brno", f"{zones.collection(generated, 'brno')}/1.2.840.77.1")
        with Gateway(zones.site(cors_origins=["https://viewer.example.org"])) as gateway:
            gateway.refresh()
            with Listening(application(gateway)) as server:
                yield Shown(zones, gateway, server.url + PREFIX, paths, orthanc)
