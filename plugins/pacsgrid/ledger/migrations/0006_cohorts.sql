-- Releases of a project and the studies they list, so that a withdrawal finds the releases.
CREATE TABLE pacsgrid.release (
    project text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    manifest_sha256 text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    PRIMARY KEY (project, name, version)
);
CREATE TABLE pacsgrid.release_study (
    project text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    ref text NOT NULL REFERENCES pacsgrid.study,
    PRIMARY KEY (project, name, version, ref),
    FOREIGN KEY (project, name, version) REFERENCES pacsgrid.release
);
CREATE INDEX release_study_ref ON pacsgrid.release_study (ref);

-- Patients who withdrew, by pseudonym, one row per zone; `proven_at` is when the zone was found to
-- hold nothing of the patient.
CREATE TABLE pacsgrid.withdrawal (
    project text NOT NULL,
    subject text NOT NULL,
    zone text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    proven_at timestamptz,
    proof text NOT NULL DEFAULT '',
    PRIMARY KEY (project, subject, zone)
);
