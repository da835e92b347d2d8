-- SHA-256 of the list of what was retrieved of a study, so that another staging folder of it, or
-- one that lacks files, is never taken for whole.
ALTER TABLE pacsgrid.study ADD COLUMN retrieved text NOT NULL DEFAULT '';

-- Versions of a study: the same study of the source, anonymised again under another profile. Each
-- version has a row in pacsgrid.study of its own. Only studies with several versions are listed
-- here. `superseded_at` is when a newer version was verified.
CREATE TABLE pacsgrid.study_version (
    ref text PRIMARY KEY REFERENCES pacsgrid.study,
    origin text NOT NULL REFERENCES pacsgrid.study,
    version integer NOT NULL,
    superseded_at timestamptz,
    UNIQUE (origin, version)
);

-- The versions of a study have the same UIDs.
ALTER TABLE pacsgrid.instance ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE pacsgrid.instance DROP CONSTRAINT instance_pkey;
ALTER TABLE pacsgrid.instance ADD PRIMARY KEY (project, sop_uid, version);

-- `superseded`: a newer version is proven and no release lists this one, so it is removed.
ALTER TABLE pacsgrid.study DROP CONSTRAINT study_state_check;
ALTER TABLE pacsgrid.study ADD CONSTRAINT study_state_check CHECK (state IN ('found',
    'retrieved', 'anonymised', 'deposited', 'replicated', 'verified', 'held', 'withdrawn',
    'not-wanted', 'superseded'));
DROP TRIGGER study_moved ON pacsgrid.study;
CREATE TRIGGER study_moved AFTER UPDATE OF state ON pacsgrid.study
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state AND NEW.state <> 'superseded')
    EXECUTE FUNCTION pacsgrid.keep_worklist();
CREATE INDEX study_profile ON pacsgrid.study (project, profile_hash, ref);
CREATE INDEX study_superseded ON pacsgrid.study (project, ref)
    WHERE state = 'superseded' AND instances > 0;
CREATE INDEX study_version_kept ON pacsgrid.study_version (ref) WHERE superseded_at IS NOT NULL;

-- Cohorts are made of current versions.
CREATE FUNCTION pacsgrid.leave_cohorts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE pacsgrid.cohort_study SET verified = false WHERE ref = NEW.ref;
    RETURN NULL;
END $$;
CREATE TRIGGER study_version_superseded AFTER UPDATE OF superseded_at ON pacsgrid.study_version
    FOR EACH ROW WHEN (NEW.superseded_at IS NOT NULL)
    EXECUTE FUNCTION pacsgrid.leave_cohorts();
