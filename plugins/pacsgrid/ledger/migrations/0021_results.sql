-- Results: what researchers made of deposited studies and sent back. A result of a study is a row of
-- `study` of its own, so that it is deposited, replicated, proven and withdrawn like any other.
ALTER TABLE pacsgrid.instance ADD COLUMN result text NOT NULL DEFAULT '';

CREATE TABLE pacsgrid.result (
    ref text PRIMARY KEY REFERENCES pacsgrid.study,
    study_ref text NOT NULL REFERENCES pacsgrid.study,
    project text NOT NULL,
    name text NOT NULL,
    released boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (study_ref, name)
);
CREATE INDEX result_project ON pacsgrid.result (project, created_at, ref);

-- Who sent each object of a result, when, and the software that made it.
CREATE TABLE pacsgrid.result_item (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ref text NOT NULL REFERENCES pacsgrid.result,
    sop_uid text NOT NULL,
    sop_class text NOT NULL,
    who text NOT NULL,
    software text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX result_item_ref ON pacsgrid.result_item (ref, id);
CREATE TRIGGER result_item_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.result_item
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();

-- What left the grid: who got which study, how and from where.
CREATE TABLE pacsgrid.disclosure (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL,
    subject text NOT NULL,
    study_uid text NOT NULL,
    classes jsonb NOT NULL,
    who text NOT NULL,
    way text NOT NULL,
    address text NOT NULL,
    detail text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX disclosure_study ON pacsgrid.disclosure (project, study_uid, id);
CREATE TRIGGER disclosure_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.disclosure
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();

-- Disclosures that the audit record repository has not been sent yet.
CREATE TABLE pacsgrid.disclosure_unsent (
    id bigint PRIMARY KEY REFERENCES pacsgrid.disclosure
);
