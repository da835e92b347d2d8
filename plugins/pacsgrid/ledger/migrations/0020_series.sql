-- Which series of a study are taken, and what content checks found.
ALTER TABLE pacsgrid.study DROP CONSTRAINT study_state_check;
ALTER TABLE pacsgrid.study ADD CONSTRAINT study_state_check CHECK (state IN ('found', 'retrieved',
    'anonymised', 'deposited', 'replicated', 'verified', 'held', 'withdrawn', 'not-wanted'));
ALTER TABLE pacsgrid.ingest ADD COLUMN not_wanted integer NOT NULL DEFAULT 0;

-- What the runs that found a study asked for, beyond the project's own selection: the study's
-- series must be wanted by one of them. No row, or none in `asked`: all that the project wants.
-- `applied` is the hash of the selections by which the study was retrieved last.
CREATE TABLE pacsgrid.series_choice (
    ref text PRIMARY KEY REFERENCES pacsgrid.study,
    asked text[] NOT NULL DEFAULT '{}',
    applied text NOT NULL DEFAULT ''
);

-- Series that were left at their source, under their pseudonyms.
CREATE TABLE pacsgrid.not_wanted (
    ref text NOT NULL REFERENCES pacsgrid.study,
    series_uid text NOT NULL,
    project text NOT NULL,
    modality text NOT NULL,
    instances integer NOT NULL,
    rule text NOT NULL,
    PRIMARY KEY (ref, series_uid)
);

-- What content checks warn of; the study went on.
CREATE TABLE pacsgrid.content_warning (
    ref text NOT NULL REFERENCES pacsgrid.study,
    code text NOT NULL,
    series_uid text NOT NULL,
    project text NOT NULL,
    detail text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ref, code, series_uid)
);
CREATE INDEX content_warning_listed ON pacsgrid.content_warning (project, since, ref);

CREATE FUNCTION pacsgrid.count_not_wanted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign integer := CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END;
BEGIN
    INSERT INTO pacsgrid.counter (project, kind, key, number, instances)
    SELECT project, 'not_wanted', modality, sign * count(*), sign * sum(instances)
    FROM changed GROUP BY project, modality;
    RETURN NULL;
END $$;
CREATE TRIGGER not_wanted_added AFTER INSERT ON pacsgrid.not_wanted
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_not_wanted();
CREATE TRIGGER not_wanted_dropped AFTER DELETE ON pacsgrid.not_wanted
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_not_wanted();

CREATE FUNCTION pacsgrid.count_content_warnings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pacsgrid.counter (project, kind, key, number)
    SELECT project, 'content_warning', code,
           CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END * count(*)
    FROM changed GROUP BY project, code;
    RETURN NULL;
END $$;
CREATE TRIGGER content_warning_added AFTER INSERT ON pacsgrid.content_warning
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_content_warnings();
CREATE TRIGGER content_warning_dropped AFTER DELETE ON pacsgrid.content_warning
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.count_content_warnings();

-- A study of which nothing is wanted is finished. PostgreSQL runs triggers in the order of their
-- names: this one after `study_moved`, which enters what is not finished into the worklist.
CREATE FUNCTION pacsgrid.leave_worklist() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    done pacsgrid.work;
BEGIN
    DELETE FROM pacsgrid.work WHERE ref = NEW.ref RETURNING * INTO done;
    UPDATE pacsgrid.ingest SET not_wanted = not_wanted + 1 WHERE id = done.ingest;
    UPDATE pacsgrid.wave SET settled = settled + 1 WHERE run = done.run;
    RETURN NULL;
END $$;
CREATE TRIGGER study_not_wanted AFTER UPDATE OF state ON pacsgrid.study
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state AND NEW.state = 'not-wanted')
    EXECUTE FUNCTION pacsgrid.leave_worklist();
