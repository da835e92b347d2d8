"""What tests of the grid share: a study of random objects, and where its replicas lie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from irods.column import Like
from irods.models import Collection, DataObject

from pacsgrid.grid import Zone
from pacsgrid.model import AnonymisedInstance
from support.seeded import seeded_bytes

SIZE = 4321


@dataclass
class Grid:
    home: Zone
    partner: Zone
    dir: Path
    instances: list[AnonymisedInstance]

    @staticmethod
    def files(zone: Zone, name: str) -> list[Path]:
        """The files in the vaults that hold an object of this name, by replica number."""
        query = zone.session.query(DataObject.path, DataObject.replica_number)
        project = f"/{zone.settings.name}/home/demo/%"
        rows = query.filter(DataObject.name == name).filter(Like(Collection.name, project))
        return [
            Path(r[DataObject.path])
            for r in sorted(rows, key=lambda r: r[DataObject.replica_number])
        ]

    def vault_files(self, zone: Zone) -> list[Path]:
        """Every file that holds a replica of an instance."""
        return [p for one in self.instances for p in self.files(zone, f"{one.sop_uid}.dcm")]


def make_instances(folder: Path, count: int = 6, size: int = SIZE) -> list[AnonymisedInstance]:
    """Make objects of one study, in two series; their bytes differ by folder and number."""
    folder.mkdir(exist_ok=True)
    made = []
    for number in range(count):
        data = seeded_bytes(size, (folder.name, number))
        path = folder / f"{number}.dcm"
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        series = f"1.2.{number % 2}"
        made.append(
            AnonymisedInstance("1.2", series, f"1.{number}", "S1", "CT", "", digest, size, path)
        )
    return made
