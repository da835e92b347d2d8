-- Who looked at what may identify a study, such as a held image with a name in it, and when.
CREATE TABLE pacsgrid.access (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    who text NOT NULL,
    ref text NOT NULL REFERENCES pacsgrid.study,
    what text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX access_ref ON pacsgrid.access (ref, id);
CREATE TRIGGER access_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.access
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();
