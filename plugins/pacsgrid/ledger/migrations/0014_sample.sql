-- The codes of what was held when a steward decided.
ALTER TABLE pacsgrid.decision ADD COLUMN codes text[] NOT NULL DEFAULT '{}';

-- Random samples of deposited instances for a human double check.
CREATE TABLE pacsgrid.sample (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL,
    release text NOT NULL DEFAULT '',
    version integer NOT NULL DEFAULT 0,
    modality text NOT NULL DEFAULT '',
    population bigint NOT NULL,
    size integer NOT NULL,
    share_limit double precision NOT NULL,
    confidence double precision NOT NULL,
    seed text NOT NULL,
    who text NOT NULL,
    drawn_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sample_project ON pacsgrid.sample (project, id);
CREATE TABLE pacsgrid.sample_item (
    sample bigint NOT NULL REFERENCES pacsgrid.sample,
    number integer NOT NULL,
    sop_uid text NOT NULL,
    PRIMARY KEY (sample, number)
);

-- What people saw; append-only. The last verdict of each reader counts.
CREATE TABLE pacsgrid.sample_verdict (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sample bigint NOT NULL,
    number integer NOT NULL,
    kind text NOT NULL,
    who text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (sample, number) REFERENCES pacsgrid.sample_item
);
CREATE INDEX sample_verdict_item ON pacsgrid.sample_verdict (sample, number, who, id);
CREATE TRIGGER sample_verdict_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON pacsgrid.sample_verdict FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();
