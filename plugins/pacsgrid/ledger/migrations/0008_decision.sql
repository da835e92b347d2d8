-- What a steward decided about a held study, who it was, and why; append-only.
CREATE TABLE pacsgrid.decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ref text NOT NULL REFERENCES pacsgrid.study,
    verdict text NOT NULL,
    who text NOT NULL,
    reason text NOT NULL,
    profile text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX decision_ref ON pacsgrid.decision (ref, id);
CREATE TRIGGER decision_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.decision
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();
