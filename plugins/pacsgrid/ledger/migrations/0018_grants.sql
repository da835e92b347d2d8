-- Who asked for the pseudonyms of patients or studies, of which kind and how many identifiers, and
-- why; append-only, and entered before anything is looked up. It names no patient.
CREATE TABLE pacsgrid.lookup (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL,
    kind text NOT NULL,
    number integer NOT NULL,
    who text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX lookup_project ON pacsgrid.lookup (project, id);
CREATE TRIGGER lookup_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.lookup
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();

-- A researcher's access to a release: asked for, and granted until a time, or refused. `rights` is
-- what the home zone has of it: nothing, perhaps some, or all.
CREATE TABLE pacsgrid.read_grant (
    id text PRIMARY KEY,
    project text NOT NULL,
    release text NOT NULL,
    version integer NOT NULL,
    researcher text NOT NULL,
    purpose text NOT NULL,
    state text NOT NULL CHECK (state IN ('requested', 'granted', 'refused', 'ended')),
    wanted_until timestamptz NOT NULL,
    until timestamptz,
    rights text NOT NULL DEFAULT 'none' CHECK (rights IN ('none', 'setting', 'set')),
    made_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project, release, version) REFERENCES pacsgrid.release (project, name, version),
    CHECK (state <> 'granted' OR until IS NOT NULL)
);
CREATE INDEX read_grant_project ON pacsgrid.read_grant (project, made_at DESC, id);
CREATE INDEX read_grant_researcher ON pacsgrid.read_grant (researcher, project);
-- What is to be done: rights to set, and rights to take away.
CREATE INDEX read_grant_open ON pacsgrid.read_grant (project, state)
    WHERE rights <> 'none' OR state IN ('requested', 'granted');

-- What happened to a grant, who did it and why; append-only.
CREATE TABLE pacsgrid.read_grant_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    grant_id text NOT NULL REFERENCES pacsgrid.read_grant,
    what text NOT NULL,
    who text NOT NULL,
    reason text NOT NULL DEFAULT '',
    until timestamptz,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX read_grant_event_grant ON pacsgrid.read_grant_event (grant_id, id);
CREATE TRIGGER read_grant_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON pacsgrid.read_grant_event FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();
