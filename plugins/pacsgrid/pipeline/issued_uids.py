"""The UIDs that a project issued: entered when they are made, found again when they come in.

What hospital software makes of the grid's images refers to them by their pseudonyms. To replace
these once more would break every reference, so they stay as they are. A UID counts as issued if the
project's register has it with a seal by the project's key, never for its form: many systems make
UIDs that begin with ``2.25``.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from io import BytesIO

from pydicom import dcmread

from pacsgrid import grid
from pacsgrid.config import ProjectSettings
from pacsgrid.deid import Pseudonyms
from pacsgrid.deid.identifiers import collect_from_dataset
from pacsgrid.errors import RetryableError
from pacsgrid.grid import Zone
from pacsgrid.ledger import InstanceRecord, Ledger, Vault
from pacsgrid.ledger.issued_uids import UidOwner
from pacsgrid.ledger.results import SOURCE

log = logging.getLogger(__name__)

# Bytes that hold most images' headers; where they do not, the whole object is read.
_HEAD = 256 << 10


class IssuedUids:
    """The register of the UIDs that a project issued.

    Parameters
    ----------
    project
        The project's settings.
    ledger
        The site's ledger.
    vault
        Opens what identifies a study, to know UIDs that were issued before there was a register.
    pseudonyms
        The project's pseudonyms.
    home
        The project's home zone.
    """

    def __init__(
        self,
        project: ProjectSettings,
        ledger: Ledger,
        vault: Vault,
        pseudonyms: Pseudonyms,
        home: Zone,
    ) -> None:
        self._project = project.name
        self._ledger = ledger
        self._vault = vault
        self._pseudonyms = pseudonyms
        self._home = home

    def enter(self, uids: Iterable[str]) -> None:
        """Enter UIDs that are the project's own."""
        seals = {uid: self._pseudonyms.seal(uid) for uid in uids}
        if seals:
            self._ledger.issued_uids.add(self._project, seals)

    def enter_replaced(self, replaced: Iterable[tuple[str, str]]) -> None:
        """Enter the UIDs that replaced others, as far as they are derived from them.

        Parameters
        ----------
        replaced
            Original UIDs, and what they were replaced by.
        """
        derive = self._pseudonyms.uid
        self.enter({new for old, new in replaced if derive(old) == new})

    def seals(self, uids: Collection[str]) -> Mapping[str, bytes]:
        """Return the seals of those of some UIDs that the project issued.

        A UID that is the pseudonym of another one among them was issued too, whoever knows of it:
        by another site of the project, or by a ledger that was lost.

        Parameters
        ----------
        uids
            The UIDs to look up.

        Raises
        ------
        RetryableError
            The home zone does not answer, which has to be asked for UIDs that were issued before
            there was a register.
        """
        known = self._ledger.issued_uids.seals(self._project, uids)
        left = set(uids) - known.keys()
        derived = {self._pseudonyms.uid(uid) for uid in uids}
        earlier = (left & derived) | self._from_owners(left)
        self.enter(earlier)
        return known | {uid: self._pseudonyms.seal(uid) for uid in earlier}

    def own(self, uids: Collection[str]) -> set[str]:
        """Return those of some UIDs that the project issued, with their seals checked.

        Parameters
        ----------
        uids
            The UIDs to look up.

        Raises
        ------
        RetryableError
            The home zone has to be asked and does not answer.
        """
        seals = self.seals(uids)
        return {uid for uid, seal in seals.items() if seal == self._pseudonyms.seal(uid)}

    def _from_owners(self, uids: set[str]) -> set[str]:
        """Return those of some UIDs that stand in studies which had no register yet."""
        if not uids:
            return set()
        owners: dict[str, list[UidOwner]] = defaultdict(list)
        for one in self._ledger.issued_uids.owners(self._project, uids):
            owners[one.ref].append(one)
        found: set[str] = set()
        for ref, mine in owners.items():
            if mine[0].source == SOURCE:
                found |= {one.uid for one in mine}
            elif self._is_derived(mine[0]):
                found |= {one.uid for one in mine} | (self._in_headers(ref) & uids)
        return found

    def _is_derived(self, owner: UidOwner) -> bool:
        """Return whether the UIDs of a study are pseudonyms; a profile may have kept them."""
        sealed, report = self._ledger.vault.sealed(owner.ref), self._ledger.reports.get(owner.ref)
        if not sealed or report is None:
            return False
        if "uids" in json.loads(report[0])["profile"]["options"]:
            return False
        original = self._vault.open(owner.ref, sealed).get("study_uid", "")
        return bool(original) and self._pseudonyms.uid(original) == owner.study_uid

    def _in_headers(self, ref: str) -> set[str]:
        """Return the UIDs in the header of one deposited instance of each series of a study."""
        samples = {row.series_uid: row for row in self._ledger.instances.of_study(ref)}
        found: set[str] = set()
        for row in samples.values():
            found |= self._in_header(row)
        return found

    def _in_header(self, row: InstanceRecord) -> set[str]:
        path = grid.object_path(self._home.settings.name, self._project, row)
        for size in (_HEAD, row.size):
            stream = BytesIO(grid.get_head(self._home, path, size))
            try:
                ds = dcmread(stream, stop_before_pixels=True)
            except Exception:  # pydicom raises any type of exception for headers that are cut
                continue
            if stream.tell() < size or size == row.size:  # otherwise the header may go on
                return set(collect_from_dataset(ds).uids)
        raise RetryableError(
            f"instance {row.sop_uid}: its header cannot be read from zone "
            f"{self._home.settings.name}; have its study verified"
        )
