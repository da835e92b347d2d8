"""Ingests: what one run asked for, the waves that it is worked off in, and how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pacsgrid.errors import ConfigError
from pacsgrid.ledger.database import Store
from pacsgrid.ledger.ingest_records import Ingest, IngestKind, IngestState, Spent, Wave
from pacsgrid.ledger.worklist import MOST_TRIES


class Ingests(Store):
    """Ingests and their waves."""

    def begin(self, name: str, project: str, source: str, kind: IngestKind) -> Ingest:
        """Enter an ingest, or return the one that has this id.

        Parameters
        ----------
        name
            Its id.
        project, source
            Whose studies.
        kind
            What it is for.

        Returns
        -------
        Ingest
            The ingest, without its rate.
        """
        self._database.run(
            "INSERT INTO pacsgrid.ingest (id, project, source, kind) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (id) DO NOTHING",
            (name, project, source, kind),
        )
        found = self.get(name)
        assert found is not None
        return found

    def get(self, name: str) -> Ingest | None:
        """Return an ingest, without its rate; None if there is none with this id."""
        rows = self._database.all(
            f"SELECT {Ingest.COLUMNS},"
            " (SELECT count(*) FROM pacsgrid.wave WHERE ingest = id)"
            " FROM pacsgrid.ingest WHERE id = %s",
            (name,),
        )
        return Ingest.of(rows[0][:-1], rows[0][-1]) if rows else None

    def lock(self, name: str) -> Ingest:
        """Lock an ingest for the rest of the transaction, and return it without its rate.

        Raises
        ------
        ConfigError
            There is no such ingest.
        """
        self._database.all("SELECT FROM pacsgrid.ingest WHERE id = %s FOR UPDATE", (name,))
        found = self.get(name)
        if found is None:
            raise ConfigError(f"the ledger has no ingest {name}")
        return found

    def set_kind(self, name: str, kind: IngestKind) -> None:
        """Change what an ingest is for, once it is known how much it found.

        Parameters
        ----------
        name
            The ingest's id.
        kind
            What it is for.
        """
        self._database.run(
            "UPDATE pacsgrid.ingest SET kind = %s WHERE id = %s AND kind <> %s", (kind, name, kind)
        )

    def set_state(
        self, name: str, state: IngestState, note: str = "", unless: Iterable[IngestState] = ()
    ) -> bool:
        """Change whether an ingest goes on.

        Parameters
        ----------
        name
            The ingest's id.
        state
            The new state.
        note
            Why, for the page.
        unless
            States in which it stays as it is.

        Returns
        -------
        bool
            Whether it was changed.
        """
        return bool(
            self._database.run(
                "UPDATE pacsgrid.ingest SET state = %s, note = %s, changed_at = now()"
                " WHERE id = %s AND state <> ALL(%s)",
                (state, note, name, [str(one) for one in unless]),
            )
        )

    def pause(self, name: str, paused: bool, note: str = "") -> bool:
        """Pause an ingest, or let it go on; studies that a run has claimed are finished first.

        Parameters
        ----------
        name
            The ingest's id.
        paused
            Whether it is to be paused.
        note
            Why, for the page.

        Returns
        -------
        bool
            False if there was nothing to change: it is in that state already, or has ended.
        """
        wanted, before = (
            (IngestState.PAUSED, [IngestState.RUNNING, IngestState.SPENT])
            if paused
            else (IngestState.RUNNING, [IngestState.PAUSED, IngestState.SPENT])
        )
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.ingest SET state = %s, note = %s, changed_at = now()"
                " WHERE id = %s AND state = ANY(%s)",
                (wanted, note, name, [str(one) for one in before]),
            )
            if not cursor.rowcount:
                return False
            cursor.execute(
                # Claimed studies are not touched: a worker that finishes one waits for our lock.
                "UPDATE pacsgrid.work SET paused = %s, tries = 0 WHERE ingest = %s AND run IS NULL",
                (paused, name),
            )
            return True

    def begin_night(self, name: str, project: str, source: str) -> None:
        """Let a source's ingests go on whose budget was spent; count the nightly one anew.

        Parameters
        ----------
        name
            The id of the source's nightly ingest.
        project, source
            Whose studies.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE pacsgrid.ingest SET state = 'running', note = '', changed_at = now()"
                " WHERE project = %s AND source = %s AND (state = 'spent'"
                " OR (id = %s AND state = 'ended'))",
                (project, source, name),
            )
            cursor.execute(
                "UPDATE pacsgrid.ingest SET found = 0, verified = 0, held = 0, withdrawn = 0,"
                " not_wanted = 0, asked_at = now() WHERE id = %s AND found > 0"
                " AND NOT EXISTS (SELECT FROM pacsgrid.work WHERE ingest = id)",
                (name,),
            )

    def end_finished(self, project: str, source: str) -> None:
        """Enter that ingests have ended of which every study is finished.

        Parameters
        ----------
        project, source
            Whose studies.
        """
        self._database.run(
            "UPDATE pacsgrid.ingest i SET state = 'ended', note = '', changed_at = now()"
            " WHERE project = %s AND source = %s AND state <> 'ended' AND kind <> 'nightly'"
            " AND found > 0 AND NOT EXISTS (SELECT FROM pacsgrid.work w WHERE w.ingest = i.id)",
            (project, source),
        )

    # -- waves ----------------------------------------------------------------------------

    def wave(self, run: str) -> Wave | None:
        """Return the wave of a run; None if the run has claimed nothing."""
        rows = self._database.all(
            "SELECT run, ingest, number, studies, settled FROM pacsgrid.wave WHERE run = %s",
            (run,),
        )
        return Wave(*rows[0]) if rows else None

    def add_wave(
        self, run: str, ingest: str, budgeted: bool, studies: int, instances: int, size: int
    ) -> int:
        """Enter what a run has claimed.

        Parameters
        ----------
        run
            The run's id; if it is run again, its wave is replaced.
        ingest
            The ingest's id.
        budgeted
            Whether it counts for the source's budget.
        studies, instances, size
            How much was claimed, as far as the source says it; `size` in bytes.

        Returns
        -------
        int
            The wave's number within the ingest, from 1.
        """
        ((number,),) = self._database.all(
            "INSERT INTO pacsgrid.wave (run, ingest, number, project, source, budgeted, studies,"
            " instances, bytes) SELECT %(run)s, id, (SELECT coalesce(max(number), 0) + 1 FROM"
            " pacsgrid.wave WHERE ingest = id), project, source, %(budgeted)s, %(studies)s,"
            " %(instances)s, %(size)s FROM pacsgrid.ingest WHERE id = %(ingest)s"
            " ON CONFLICT (run) DO UPDATE SET studies = excluded.studies, settled = 0,"
            " instances = excluded.instances, bytes = excluded.bytes, ended_at = NULL,"
            " claimed_at = now() RETURNING number",
            {
                "run": run,
                "ingest": ingest,
                "budgeted": budgeted,
                "studies": studies,
                "instances": instances,
                "size": size,
            },
        )
        return int(number)

    def end_wave(self, run: str, instances: int | None = None, size: int | None = None) -> None:
        """Enter that a run has ended, and what its studies turned out to have.

        Parameters
        ----------
        run
            The run's id.
        instances
            The number of their instances; None to keep what the source said.
        size
            Their size in bytes; None to keep what the source said.
        """
        self._database.run(
            "UPDATE pacsgrid.wave SET ended_at = coalesce(ended_at, now()),"
            " instances = coalesce(%s, instances), bytes = coalesce(%s, bytes) WHERE run = %s",
            (instances, size, run),
        )

    def has_open_wave(self, name: str) -> bool:
        """Return whether a run has a wave of this ingest that has not ended."""
        ((found,),) = self._database.all(
            "SELECT EXISTS (SELECT FROM pacsgrid.wave WHERE ingest = %s AND ended_at IS NULL)",
            (name,),
        )
        return bool(found)

    def open_waves(self) -> list[str]:
        """Return the runs whose waves have not ended."""
        return [
            run
            for (run,) in self._database.all(
                "SELECT run FROM pacsgrid.wave WHERE ended_at IS NULL ORDER BY claimed_at"
            )
        ]

    def spent(self, source: str, since: datetime) -> Spent:
        """Return what a source's waves have used of its budget, those of all projects.

        Parameters
        ----------
        source
            The source.
        since
            When the night began.
        """
        ((first, studies, size),) = self._database.all(
            "SELECT min(claimed_at), coalesce(sum(studies), 0), coalesce(sum(bytes), 0)::bigint"
            " FROM pacsgrid.wave WHERE source = %s AND claimed_at >= %s AND budgeted",
            (source, since),
        )
        return Spent(first, int(studies), int(size))

    def typical(self, source: str) -> tuple[float, float]:
        """Return mean instances and bytes of a study in the source's last waves; 0 if unknown."""
        ((studies, instances, size),) = self._database.all(
            "SELECT coalesce(sum(studies), 0), coalesce(sum(instances), 0),"
            " coalesce(sum(bytes), 0) FROM (SELECT studies, instances, bytes FROM pacsgrid.wave"
            " WHERE source = %s AND ended_at IS NOT NULL ORDER BY claimed_at DESC LIMIT 20) last",
            (source,),
        )
        return (float(instances / studies), float(size / studies)) if studies else (0.0, 0.0)

    # -- progress -------------------------------------------------------------------------

    def of_projects(self, projects: Sequence[str], limit: int = 20) -> list[Ingest]:
        """Return the ingests that have not ended, and the last that have, newest first.

        Parameters
        ----------
        projects
            The projects' names.
        limit
            How many that have ended.
        """
        with self._database.transaction():
            return self._of_projects(projects, limit)

    def _of_projects(self, projects: Sequence[str], limit: int) -> list[Ingest]:
        found = self._database.all(
            f"SELECT {Ingest.COLUMNS}, (SELECT count(*) FROM pacsgrid.wave WHERE ingest = id) FROM"
            " (SELECT * FROM pacsgrid.ingest WHERE project = ANY(%(names)s) AND state <> 'ended'"
            " UNION ALL (SELECT * FROM pacsgrid.ingest WHERE project = ANY(%(names)s)"
            " AND state = 'ended' ORDER BY changed_at DESC LIMIT %(limit)s)) one"
            " ORDER BY asked_at DESC, id",
            {"names": list(projects), "limit": limit},
        )
        rates = self._rates({row[2] for row in found})
        return [Ingest.of(row[:-1], row[-1], rates.get(row[2], 0.0)) for row in found]

    def _rates(self, sources: Iterable[str]) -> dict[str, float]:
        """Return studies per hour of each source's waves, hours without a wave left out."""
        rows = self._database.all(
            "SELECT source, claimed_at, coalesce(ended_at, now()), settled FROM pacsgrid.wave"
            " WHERE source = ANY(%s) AND claimed_at > now() - interval '1 day'"
            " ORDER BY source, claimed_at",
            (list(sources),),
        )
        busy: dict[str, timedelta] = {}
        settled: dict[str, int] = {}
        until: dict[str, datetime] = {}
        for source, start, end, count in rows:
            settled[source] = settled.get(source, 0) + count
            start = max(start, until.get(source, start))
            busy[source] = busy.get(source, timedelta()) + max(timedelta(), end - start)
            until[source] = max(end, until.get(source, end))
        return {
            source: settled[source] / (busy[source] / timedelta(hours=1))
            for source in settled
            if settled[source] and busy[source]
        }

    def to_continue(self, quiet: timedelta) -> list[Ingest]:
        """Return the ingests that should go on and have something to claim, but no run.

        Parameters
        ----------
        quiet
            How long nothing may have happened: the next run may be about to start.
        """
        rows = self._database.all(
            f"SELECT {Ingest.COLUMNS} FROM pacsgrid.ingest i WHERE state = 'running'"
            " AND changed_at < now() - %(quiet)s AND NOT EXISTS (SELECT FROM pacsgrid.wave w"
            " WHERE w.ingest = i.id AND (w.ended_at IS NULL OR w.ended_at > now() - %(quiet)s))"
            " AND EXISTS (SELECT FROM pacsgrid.work k WHERE k.ingest = i.id AND k.run IS NULL"
            " AND NOT k.paused AND k.tries < %(tries)s) ORDER BY asked_at",
            {"quiet": quiet, "tries": MOST_TRIES},
        )
        return [Ingest.of(row) for row in rows]
