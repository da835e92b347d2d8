-- What the instances of each series are, so that cohorts are counted without reading manifests.

-- Values of attributes, each once for all projects. `text` is as it is compared, `label` as it is
-- shown; numbers, ages, dates and times have `low` and `high` too, which differ where a series has
-- too many values to list. An empty text stands for any value.
CREATE TABLE pacsgrid.cohort_term (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    attribute text NOT NULL,
    text text NOT NULL,
    label text NOT NULL,
    low double precision,
    high double precision,
    UNIQUE (attribute, text)
);
CREATE INDEX cohort_term_number ON pacsgrid.cohort_term (attribute, low, high)
    WHERE low IS NOT NULL;
CREATE INDEX cohort_term_prefix ON pacsgrid.cohort_term (attribute, text text_pattern_ops);

-- `person`, `sex`, `body_parts`, `modality`, `body_part` and `manufacturer` are terms; `month` is
-- YYYYMM.
CREATE TABLE pacsgrid.cohort_study (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ref text NOT NULL UNIQUE REFERENCES pacsgrid.study,
    project text NOT NULL,
    verified boolean NOT NULL,
    person integer NOT NULL,
    sex integer,
    age real,
    body_parts integer,
    month integer,
    instances integer NOT NULL,
    bytes bigint NOT NULL
) WITH (fillfactor = 90);
CREATE TABLE pacsgrid.cohort_series (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study integer NOT NULL REFERENCES pacsgrid.cohort_study ON DELETE CASCADE,
    series_uid text NOT NULL,
    modality integer,
    body_part integer,
    manufacturer integer,
    thickness real,
    instances integer NOT NULL,
    bytes bigint NOT NULL,
    terms integer[] NOT NULL,
    UNIQUE (study, series_uid)
);
CREATE INDEX cohort_series_terms ON pacsgrid.cohort_series USING gin (terms);

CREATE FUNCTION pacsgrid.keep_cohort_index() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state IN ('withdrawn', 'superseded') THEN
        DELETE FROM pacsgrid.cohort_study WHERE ref = NEW.ref;
        DELETE FROM pacsgrid.cohort_pending WHERE ref = NEW.ref;
    ELSIF (NEW.state = 'verified') <> (OLD.state = 'verified') THEN
        UPDATE pacsgrid.cohort_study SET verified = NEW.state = 'verified' WHERE ref = NEW.ref;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER study_cohort_index AFTER UPDATE OF state ON pacsgrid.study
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION pacsgrid.keep_cohort_index();

-- Deposited studies whose manifests maintenance has yet to read; later ones are entered by their
-- deposit.
CREATE TABLE pacsgrid.cohort_pending (
    ref text PRIMARY KEY REFERENCES pacsgrid.study,
    project text NOT NULL
);
CREATE INDEX cohort_pending_project ON pacsgrid.cohort_pending (project, ref);
INSERT INTO pacsgrid.cohort_pending (ref, project)
SELECT ref, project FROM pacsgrid.study WHERE pacsgrid.is_deposited(state);

-- Cohorts that were saved by name; append-only, the last row of a name counts.
CREATE TABLE pacsgrid.saved_cohort (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL,
    name text NOT NULL,
    criteria text[] NOT NULL,
    excluded text[] NOT NULL,
    matching boolean NOT NULL,
    removed boolean NOT NULL DEFAULT false,
    who text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX saved_cohort_name ON pacsgrid.saved_cohort (project, name, id);
CREATE TRIGGER saved_cohort_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON pacsgrid.saved_cohort FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();

-- The series of a released study that the version leaves out, so that a version that replaces it
-- after a withdrawal leaves them out too.
CREATE TABLE pacsgrid.release_left_out (
    project text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    ref text NOT NULL REFERENCES pacsgrid.study,
    series_uid text NOT NULL,
    PRIMARY KEY (project, name, version, ref, series_uid),
    FOREIGN KEY (project, name, version) REFERENCES pacsgrid.release
);
CREATE INDEX release_left_out_ref ON pacsgrid.release_left_out (ref);
