-- Pages, reports and plans read counts that triggers keep, so that their cost does not grow with
-- the studies that are settled.

-- Hot rows: room for the next version of a row in its page.
ALTER TABLE pacsgrid.study SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE pacsgrid.study
    ADD COLUMN subject text,
    ADD COLUMN study_uid text,
    ADD COLUMN instances integer NOT NULL DEFAULT 0,
    ADD COLUMN bytes bigint NOT NULL DEFAULT 0;

-- A series of anonymised instances: cohorts are counted from it, and a series UID is found in it.
CREATE TABLE pacsgrid.series (
    ref text NOT NULL REFERENCES pacsgrid.study,
    series_uid text NOT NULL,
    project text NOT NULL,
    modality text NOT NULL,
    instances integer NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (ref, series_uid, modality)
);

-- Counts are sums of rows: a change only adds rows, so that workers never wait for each other.
-- `pacsgrid.fold_counters` adds the new rows to one row for each sum.
CREATE TABLE pacsgrid.counter (
    project text NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    at timestamptz,
    number bigint NOT NULL,
    instances bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    first timestamptz,
    last timestamptz,
    folded boolean NOT NULL DEFAULT false
);
CREATE INDEX counter_kind ON pacsgrid.counter (project, kind, at);
CREATE INDEX counter_new ON pacsgrid.counter (folded) WHERE NOT folded;
CREATE UNIQUE INDEX counter_sum ON pacsgrid.counter
    (project, kind, key, coalesce(at, '-infinity')) WHERE folded;

CREATE FUNCTION pacsgrid.fold_counters() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    removed bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('pacsgrid.fold_counters', 0)) THEN
        RETURN 0;
    END IF;
    WITH gone AS (DELETE FROM pacsgrid.counter WHERE NOT folded RETURNING *), kept AS (
        INSERT INTO pacsgrid.counter AS old
        SELECT project, kind, key, at, sum(number), sum(instances), sum(bytes), min(first),
               max(last), true FROM gone GROUP BY project, kind, key, at
        ON CONFLICT (project, kind, key, coalesce(at, '-infinity')) WHERE folded DO UPDATE SET
            number = old.number + excluded.number,
            instances = old.instances + excluded.instances, bytes = old.bytes + excluded.bytes,
            first = least(old.first, excluded.first), last = greatest(old.last, excluded.last)
        RETURNING 1)
    SELECT count(*) FROM gone INTO removed;
    RETURN removed;
END $$;

CREATE FUNCTION pacsgrid.is_deposited(state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS
    $$ SELECT state IN ('deposited', 'replicated', 'verified') $$;

-- How well a zone covers a study: the fewest good replicas of any of its instances. It has a row
-- as soon as the zone has a proof.
CREATE TABLE pacsgrid.coverage (
    ref text NOT NULL REFERENCES pacsgrid.study,
    zone text NOT NULL,
    project text NOT NULL,
    deposited boolean NOT NULL,
    least integer NOT NULL,
    bad integer NOT NULL,
    oldest timestamptz NOT NULL,
    PRIMARY KEY (ref, zone)
);
CREATE INDEX coverage_least ON pacsgrid.coverage (project, zone, least) WHERE deposited;
CREATE INDEX coverage_bad ON pacsgrid.coverage (project, zone) WHERE deposited AND bad > 0;
CREATE INDEX coverage_oldest ON pacsgrid.coverage (project, zone, oldest, ref) WHERE deposited;
CREATE INDEX coverage_open ON pacsgrid.coverage (project, ref) WHERE NOT deposited;

CREATE FUNCTION pacsgrid.count_coverage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deposited THEN
        INSERT INTO pacsgrid.counter (project, kind, key, number)
        VALUES (OLD.project, 'covered', OLD.zone, -1);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deposited THEN
        INSERT INTO pacsgrid.counter (project, kind, key, number)
        VALUES (NEW.project, 'covered', NEW.zone, 1);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION pacsgrid.cover(refs text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM pacsgrid.coverage c WHERE c.ref = ANY(refs) AND NOT EXISTS
        (SELECT FROM pacsgrid.holding h WHERE h.ref = c.ref AND h.zone = c.zone);
    INSERT INTO pacsgrid.coverage (ref, zone, project, deposited, least, bad, oldest)
    SELECT s.ref, h.zone, s.project, pacsgrid.is_deposited(s.state),
           CASE WHEN sum(h.instances) < s.instances THEN 0 ELSE min(h.good) END,
           sum(h.bad), min(h.oldest)
    FROM pacsgrid.holding h JOIN pacsgrid.study s USING (ref) WHERE s.ref = ANY(refs)
    GROUP BY s.ref, h.zone
    ON CONFLICT (ref, zone) DO UPDATE SET deposited = excluded.deposited,
        least = excluded.least, bad = excluded.bad, oldest = excluded.oldest;
END $$;

-- Replaces the function of migration 5: it counts the replicas of each resource by day, too.
CREATE OR REPLACE FUNCTION pacsgrid.count_holding() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign integer := CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    IF NOT EXISTS (SELECT FROM changed) THEN
        RETURN NULL;
    END IF;
    DELETE FROM pacsgrid.holding h USING (SELECT DISTINCT ref, zone FROM changed) c
    WHERE h.ref = c.ref AND h.zone = c.zone;
    INSERT INTO pacsgrid.holding (ref, zone, good, instances, bad, oldest)
    SELECT ref, zone, good, count(*), sum(bad), min(oldest) FROM (
        SELECT p.ref, p.zone, count(*) FILTER (WHERE p.good) AS good,
               count(*) FILTER (WHERE NOT p.good) AS bad, min(p.verified_at) AS oldest
        FROM pacsgrid.proof p JOIN (SELECT DISTINCT ref, zone FROM changed) c USING (ref, zone)
        GROUP BY p.ref, p.zone, p.sop_uid
    ) AS object GROUP BY ref, zone, good;
    PERFORM pacsgrid.cover((SELECT array_agg(DISTINCT ref) FROM changed));
    INSERT INTO pacsgrid.counter (project, kind, key, at, number, instances, first, last)
    SELECT s.project, 'replica', c.zone || '/' || c.resource, date_trunc('day', c.verified_at,
           'UTC'), sign * count(*) FILTER (WHERE c.good), sign * count(*) FILTER (WHERE NOT c.good),
           min(c.verified_at), max(c.verified_at)
    FROM changed c JOIN pacsgrid.study s USING (ref) GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;

CREATE FUNCTION pacsgrid.count_failures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT s.project, 'failure', c.zone || '/' || c.resource,
           CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END * count(*)
    FROM changed c JOIN pacsgrid.study s USING (ref) GROUP BY 1, 2, 3;
    RETURN NULL;
END $$;
CREATE TRIGGER bad_replica_added AFTER INSERT ON pacsgrid.bad_replica
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_failures();
CREATE TRIGGER bad_replica_dropped AFTER DELETE ON pacsgrid.bad_replica
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_failures();

-- Instances: the sums of their study and series.
CREATE FUNCTION pacsgrid.count_instances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign integer := CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    IF NOT EXISTS (SELECT FROM changed) THEN
        RETURN NULL;
    END IF;
    INSERT INTO pacsgrid.series AS known (ref, series_uid, project, modality, instances, bytes)
    SELECT ref, series_uid, project, modality, sign * count(*), sign * sum(size) FROM changed
    GROUP BY ref, series_uid, project, modality ORDER BY ref, series_uid, modality
    ON CONFLICT (ref, series_uid, modality) DO UPDATE SET
        instances = known.instances + excluded.instances, bytes = known.bytes + excluded.bytes;
    IF TG_OP = 'DELETE' THEN
        DELETE FROM pacsgrid.series WHERE instances <= 0 AND ref IN (SELECT ref FROM changed);
    END IF;
    UPDATE pacsgrid.study s SET
        instances = s.instances + sign * c.instances, bytes = s.bytes + sign * c.bytes,
        subject = CASE WHEN s.instances + sign * c.instances > 0 THEN c.subject END,
        study_uid = CASE WHEN s.instances + sign * c.instances > 0 THEN c.study_uid END
    FROM (SELECT ref, count(*) AS instances, sum(size) AS bytes, min(subject) AS subject,
                 min(study_uid) AS study_uid FROM changed GROUP BY ref) c
    WHERE s.ref = c.ref;
    PERFORM pacsgrid.cover((SELECT array_agg(DISTINCT ref) FROM changed));
    RETURN NULL;
END $$;

-- Studies by state, held studies by reason, and what was verified in each hour.
CREATE FUNCTION pacsgrid.count_study() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pacsgrid.counter (project, kind, key, number, instances, bytes) VALUES
        (OLD.project, 'state', OLD.state, -1, -OLD.instances, -OLD.bytes),
        (NEW.project, 'state', NEW.state, 1, NEW.instances, NEW.bytes);
    IF OLD.held_code IS DISTINCT FROM NEW.held_code THEN
        INSERT INTO pacsgrid.counter (project, kind, key, number)
        SELECT NEW.project, 'held_study', code, number
        FROM (VALUES (OLD.held_code, -1), (NEW.held_code, 1)) AS changed (code, number)
        WHERE code IS NOT NULL;
    END IF;
    -- Now and then, so that a sum has few rows however much is taken in.
    IF random() < 0.002 THEN
        PERFORM pacsgrid.fold_counters();
    END IF;
    IF OLD.state IS DISTINCT FROM NEW.state AND NEW.state = 'verified' THEN
        INSERT INTO pacsgrid.counter (project, kind, key, at, number, instances, bytes)
        VALUES (NEW.project, 'volume', '', date_trunc('hour', now(), 'UTC'), 1,
                NEW.instances, NEW.bytes);
    END IF;
    IF pacsgrid.is_deposited(OLD.state) <> pacsgrid.is_deposited(NEW.state) THEN
        UPDATE pacsgrid.coverage SET deposited = pacsgrid.is_deposited(NEW.state)
        WHERE ref = NEW.ref AND deposited <> pacsgrid.is_deposited(NEW.state);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION pacsgrid.count_new_studies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pacsgrid.counter (project, kind, key, number, instances, bytes)
    SELECT project, 'state', state, count(*), sum(instances), sum(bytes)
    FROM changed GROUP BY project, state;
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT project, 'held_study', held_code, count(*)
    FROM changed WHERE held_code IS NOT NULL GROUP BY project, held_code;
    RETURN NULL;
END $$;

-- Held files are listed by project and age.
ALTER TABLE pacsgrid.held_item ADD COLUMN project text;
UPDATE pacsgrid.held_item i SET project = s.project FROM pacsgrid.study s WHERE s.ref = i.ref;
ALTER TABLE pacsgrid.held_item ALTER COLUMN project SET NOT NULL;

CREATE FUNCTION pacsgrid.set_held_project() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT project INTO STRICT NEW.project FROM pacsgrid.study WHERE ref = NEW.ref;
    RETURN NEW;
END $$;
CREATE TRIGGER held_item_project BEFORE INSERT ON pacsgrid.held_item
    FOR EACH ROW EXECUTE FUNCTION pacsgrid.set_held_project();

CREATE FUNCTION pacsgrid.count_held_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT project, 'held_file', code, CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END * count(*)
    FROM changed GROUP BY project, code;
    RETURN NULL;
END $$;
CREATE TRIGGER held_item_added AFTER INSERT ON pacsgrid.held_item
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_held_items();
CREATE TRIGGER held_item_dropped AFTER DELETE ON pacsgrid.held_item
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_held_items();

-- What is in the ledger already. The triggers on these tables come after it.
INSERT INTO pacsgrid.series (ref, series_uid, project, modality, instances, bytes)
SELECT ref, series_uid, project, modality, count(*), sum(size) FROM pacsgrid.instance
GROUP BY ref, series_uid, project, modality;
UPDATE pacsgrid.study s SET subject = i.subject, study_uid = i.study_uid,
    instances = i.instances, bytes = i.bytes
FROM (SELECT ref, count(*) AS instances, sum(size) AS bytes, min(subject) AS subject,
             min(study_uid) AS study_uid FROM pacsgrid.instance GROUP BY ref) i
WHERE s.ref = i.ref;
INSERT INTO pacsgrid.coverage (ref, zone, project, deposited, least, bad, oldest)
SELECT s.ref, h.zone, s.project, pacsgrid.is_deposited(s.state),
       CASE WHEN sum(h.instances) < s.instances THEN 0 ELSE min(h.good) END,
       sum(h.bad), min(h.oldest)
FROM pacsgrid.holding h JOIN pacsgrid.study s USING (ref) GROUP BY s.ref, h.zone;

CREATE FUNCTION pacsgrid.recount() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM pacsgrid.counter WHERE kind <> 'volume';
    INSERT INTO pacsgrid.counter (project, kind, key, number, instances, bytes)
    SELECT project, 'state', state, count(*), sum(instances), sum(bytes)
    FROM pacsgrid.study GROUP BY project, state;
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT project, 'held_study', held_code, count(*)
    FROM pacsgrid.study WHERE held_code IS NOT NULL GROUP BY project, held_code;
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT DISTINCT s.project, 'held_study', a.reason, 0
    FROM pacsgrid.audit a JOIN pacsgrid.study s USING (ref) WHERE a.became = 'held';
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT project, 'held_file', code, count(*) FROM pacsgrid.held_item GROUP BY project, code;
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT s.project, 'failure', b.zone || '/' || b.resource, count(*)
    FROM pacsgrid.bad_replica b JOIN pacsgrid.study s USING (ref) GROUP BY 1, 2, 3;
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT project, 'covered', zone, count(*) FROM pacsgrid.coverage WHERE deposited
    GROUP BY project, zone;
    INSERT INTO pacsgrid.counter (project, kind, key, at, number, instances, first, last)
    SELECT s.project, 'replica', p.zone || '/' || p.resource,
           date_trunc('day', p.verified_at, 'UTC'), count(*) FILTER (WHERE p.good),
           count(*) FILTER (WHERE NOT p.good), min(p.verified_at), max(p.verified_at)
    FROM pacsgrid.proof p JOIN pacsgrid.study s USING (ref) GROUP BY 1, 2, 3, 4;
END $$;
SELECT pacsgrid.recount();
INSERT INTO pacsgrid.counter (project, kind, key, at, number, instances, bytes)
SELECT s.project, 'volume', '', date_trunc('hour', a.at, 'UTC'), count(*), sum(s.instances),
       sum(s.bytes)
FROM pacsgrid.audit a JOIN pacsgrid.study s USING (ref) WHERE a.became = 'verified'
GROUP BY 1, 2, 3, 4;

CREATE TRIGGER instance_added AFTER INSERT ON pacsgrid.instance
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_instances();
CREATE TRIGGER instance_dropped AFTER DELETE ON pacsgrid.instance
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_instances();
CREATE TRIGGER coverage_counted_new AFTER INSERT OR DELETE ON pacsgrid.coverage
    FOR EACH ROW EXECUTE FUNCTION pacsgrid.count_coverage();
CREATE TRIGGER coverage_counted AFTER UPDATE OF deposited ON pacsgrid.coverage
    FOR EACH ROW WHEN (OLD.deposited IS DISTINCT FROM NEW.deposited)
    EXECUTE FUNCTION pacsgrid.count_coverage();
CREATE TRIGGER study_counted_new AFTER INSERT ON pacsgrid.study
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_new_studies();
CREATE TRIGGER study_counted AFTER UPDATE ON pacsgrid.study
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state
        OR OLD.held_code IS DISTINCT FROM NEW.held_code
        OR OLD.instances <> NEW.instances OR OLD.bytes <> NEW.bytes)
    EXECUTE FUNCTION pacsgrid.count_study();

-- One index serves every list of studies. A change of state writes it and the primary key.
DROP INDEX pacsgrid.study_project_state;
CREATE INDEX study_listed ON pacsgrid.study (project, state, changed_at, ref);
CREATE INDEX study_source ON pacsgrid.study (project, source);
CREATE INDEX study_subject ON pacsgrid.study (project, subject) WHERE subject IS NOT NULL;
CREATE INDEX study_uid ON pacsgrid.study (project, study_uid) WHERE study_uid IS NOT NULL;
CREATE INDEX series_uid ON pacsgrid.series (project, series_uid);
CREATE INDEX held_item_listed ON pacsgrid.held_item (project, since, ref, code);
-- For the foreign key from a replica that was bad, and for its withdrawal.
CREATE INDEX bad_replica_ref ON pacsgrid.bad_replica (ref);
