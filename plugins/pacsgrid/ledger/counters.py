"""Counts that triggers keep, so that pages and reports need not count."""

from __future__ import annotations

from pacsgrid.ledger.database import Store


class Counters(Store):
    """The table of counts; `Overview`, `Studies` and `ReplicationTasks` read sums of its rows."""

    def fold(self) -> int:
        """Put the rows of each sum together, and remove sums of nothing.

        Returns
        -------
        int
            How many rows were put together; 0 while another process does it.
        """
        with self._database.transaction():
            ((removed,),) = self._database.all("SELECT pacsgrid.fold_counters()")
            # Reasons are remembered, so that their gauges return to 0.
            self._database.run(
                "DELETE FROM pacsgrid.counter WHERE folded AND number = 0 AND instances = 0"
                " AND kind NOT IN ('held_study', 'held_file')"
            )
        return int(removed)
