CREATE TABLE pacsgrid.study (
    ref text PRIMARY KEY,
    project text NOT NULL,
    source text NOT NULL,
    profile_hash text NOT NULL,
    state text NOT NULL CHECK (state IN ('found', 'retrieved', 'anonymised', 'deposited',
        'replicated', 'verified', 'held', 'withdrawn')),
    held_code text,
    held_detail text,
    held_sha256 text,
    found_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'held') = (held_code IS NOT NULL))
);
CREATE INDEX study_project_state ON pacsgrid.study (project, state);

-- What identifies a study, encrypted with a key that is never stored in this database.
CREATE TABLE pacsgrid.vault (
    ref text PRIMARY KEY REFERENCES pacsgrid.study,
    sealed bytea NOT NULL
);

CREATE TABLE pacsgrid.instance (
    project text NOT NULL,
    sop_uid text NOT NULL,
    ref text NOT NULL REFERENCES pacsgrid.study,
    study_uid text NOT NULL,
    series_uid text NOT NULL,
    subject text NOT NULL,
    modality text NOT NULL,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    PRIMARY KEY (project, sop_uid)
);
CREATE INDEX instance_ref ON pacsgrid.instance (ref);

CREATE TABLE pacsgrid.held_item (
    ref text NOT NULL REFERENCES pacsgrid.study,
    code text NOT NULL,
    detail text NOT NULL,
    sha256 text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ref, code, sha256)
);

CREATE TABLE pacsgrid.proof (
    ref text NOT NULL REFERENCES pacsgrid.study,
    sop_uid text NOT NULL,
    zone text NOT NULL,
    replica integer NOT NULL,
    resource text NOT NULL,
    sha256 text NOT NULL,
    good boolean NOT NULL,
    verified_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ref, sop_uid, zone, replica)
);

-- Every replica that was ever found bad, so that a resource that fails repeatedly is noticed.
CREATE TABLE pacsgrid.bad_replica (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ref text NOT NULL REFERENCES pacsgrid.study,
    sop_uid text NOT NULL,
    zone text NOT NULL,
    replica integer NOT NULL,
    resource text NOT NULL,
    sha256 text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE pacsgrid.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ref text NOT NULL,
    was text,
    became text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX audit_ref ON pacsgrid.audit (ref, id);

-- A trigger writes the trail, so that no change of state can bypass it.
CREATE FUNCTION pacsgrid.audit_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pacsgrid.audit (ref, was, became, actor, reason)
    VALUES (NEW.ref, CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state,
            coalesce(nullif(current_setting('pacsgrid.actor', true), ''), current_user),
            coalesce(NEW.held_code, ''));
    RETURN NEW;
END $$;
CREATE TRIGGER study_created AFTER INSERT ON pacsgrid.study
    FOR EACH ROW EXECUTE FUNCTION pacsgrid.audit_state();
CREATE TRIGGER study_changed AFTER UPDATE OF state ON pacsgrid.study
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION pacsgrid.audit_state();

CREATE FUNCTION pacsgrid.append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pacsgrid.audit
    FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();
