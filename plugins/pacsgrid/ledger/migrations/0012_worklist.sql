-- An ingest: the studies that one run asked for, and how far they are. Triggers keep the counts.
CREATE TABLE pacsgrid.ingest (
    id text PRIMARY KEY,
    project text NOT NULL,
    source text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('named', 'pushed', 'request', 'nightly', 'backfill')),
    state text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'paused', 'spent', 'ended')),
    note text NOT NULL DEFAULT '',
    found integer NOT NULL DEFAULT 0,
    verified integer NOT NULL DEFAULT 0,
    held integer NOT NULL DEFAULT 0,
    withdrawn integer NOT NULL DEFAULT 0,
    asked_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ingest_open ON pacsgrid.ingest (project, source) WHERE state <> 'ended';

-- A wave: what one run of Airflow took of an ingest.
CREATE TABLE pacsgrid.wave (
    run text PRIMARY KEY,
    ingest text NOT NULL REFERENCES pacsgrid.ingest,
    number integer NOT NULL,
    project text NOT NULL,
    source text NOT NULL,
    budgeted boolean NOT NULL,
    studies integer NOT NULL,
    instances bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    settled integer NOT NULL DEFAULT 0,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    UNIQUE (ingest, number)
);
CREATE INDEX wave_open ON pacsgrid.wave (ingest) WHERE ended_at IS NULL;
CREATE INDEX wave_source ON pacsgrid.wave (source, claimed_at);

-- The studies that are neither verified, held nor withdrawn, one row each; a trigger adds and
-- deletes them. `day` orders them by study date: the day's number plus a secret of the project.
CREATE TABLE pacsgrid.work (
    ref text PRIMARY KEY REFERENCES pacsgrid.study ON DELETE CASCADE,
    project text NOT NULL,
    source text NOT NULL,
    priority smallint NOT NULL DEFAULT 1,
    tries smallint NOT NULL DEFAULT 0,
    day integer NOT NULL DEFAULT 0,
    instances integer,
    bytes bigint,
    ingest text REFERENCES pacsgrid.ingest,
    paused boolean NOT NULL DEFAULT false,
    run text,
    claimed_until timestamptz
);
CREATE INDEX work_order ON pacsgrid.work (project, source, priority, tries, day, ref)
    WHERE run IS NULL AND NOT paused;
CREATE INDEX work_ingest ON pacsgrid.work (ingest, priority, tries, day, ref);
CREATE INDEX work_run ON pacsgrid.work (run) WHERE run IS NOT NULL;
CREATE INDEX work_tried ON pacsgrid.work (project, source) WHERE run IS NULL AND tries > 0;

CREATE FUNCTION pacsgrid.keep_worklist() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    done pacsgrid.work;
BEGIN
    IF NEW.state NOT IN ('verified', 'held', 'withdrawn') THEN
        INSERT INTO pacsgrid.work (ref, project, source)
        VALUES (NEW.ref, NEW.project, NEW.source)
        -- A study that moves is being worked on: its claim lasts longer.
        ON CONFLICT (ref) DO UPDATE SET claimed_until = now() + interval '12 hours'
            WHERE work.run IS NOT NULL;
        RETURN NULL;
    END IF;
    DELETE FROM pacsgrid.work WHERE ref = NEW.ref RETURNING * INTO done;
    IF done.ingest IS NOT NULL THEN
        UPDATE pacsgrid.ingest SET
            verified = verified + (NEW.state = 'verified')::integer,
            held = held + (NEW.state = 'held')::integer,
            withdrawn = withdrawn + (NEW.state = 'withdrawn')::integer
        WHERE id = done.ingest;
    END IF;
    IF done.run IS NOT NULL THEN
        UPDATE pacsgrid.wave SET settled = settled + 1 WHERE run = done.run;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER study_entered AFTER INSERT ON pacsgrid.study
    FOR EACH ROW EXECUTE FUNCTION pacsgrid.keep_worklist();
CREATE TRIGGER study_moved AFTER UPDATE OF state ON pacsgrid.study
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION pacsgrid.keep_worklist();

INSERT INTO pacsgrid.work (ref, project, source)
SELECT ref, project, source FROM pacsgrid.study
WHERE state NOT IN ('verified', 'held', 'withdrawn');

-- How far back a source was queried, where a project takes the newest studies first.
ALTER TABLE pacsgrid.sync_place ADD COLUMN since date;
