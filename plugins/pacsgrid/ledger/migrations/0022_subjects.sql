-- Pseudonyms from outside: which subject a patient of a project has. `patient` and `patient_id` are
-- keyed hashes, of issuer and PatientID and of the PatientID alone; they are meaningless without the
-- project's key. `sealed` holds the date shift, encrypted like the vault: it leads back to dates.
CREATE TABLE pacsgrid.subject (
    project text NOT NULL,
    patient text NOT NULL,
    patient_id text NOT NULL,
    subject text NOT NULL,
    sealed bytea NOT NULL,
    origin text NOT NULL,
    who text NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, patient)
);
-- Two patients never share a subject, in whatever case it is written.
CREATE UNIQUE INDEX subject_of_one ON pacsgrid.subject (project, lower(subject));
CREATE INDEX subject_patient_id ON pacsgrid.subject (project, patient_id);

-- Where a project's subjects come from; it stays so once the project has studies.
CREATE TABLE pacsgrid.subject_mode (
    project text PRIMARY KEY,
    mode text NOT NULL
);
INSERT INTO pacsgrid.subject_mode (project, mode)
    SELECT DISTINCT project, 'derived' FROM pacsgrid.study WHERE subject IS NOT NULL;

-- What is known of the consent of each subject, and of whom to ask again. `sealed` holds PatientID
-- and issuer, encrypted like the vault. Rows of withdrawn patients are deleted.
CREATE TABLE pacsgrid.consent (
    project text NOT NULL,
    subject text NOT NULL,
    patient text NOT NULL,
    sealed bytea NOT NULL,
    answer text NOT NULL,
    until date,
    asked_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    PRIMARY KEY (project, subject)
);
CREATE INDEX consent_asked ON pacsgrid.consent (project, asked_at);
CREATE INDEX consent_until ON pacsgrid.consent (project, until) WHERE until IS NOT NULL;
CREATE INDEX consent_patient ON pacsgrid.consent (project, patient);
CREATE INDEX consent_no ON pacsgrid.consent (project, subject) WHERE answer = 'no';

-- How far a register was read: what it had changed until then is known.
CREATE TABLE pacsgrid.consent_cursor (
    project text PRIMARY KEY,
    state text NOT NULL
);

-- Each change of an answer; append-only.
CREATE TABLE pacsgrid.consent_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL,
    subject text NOT NULL,
    was text NOT NULL,
    became text NOT NULL,
    actor text NOT NULL DEFAULT coalesce(current_setting('pacsgrid.actor', true), ''),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX consent_change_subject ON pacsgrid.consent_change (project, subject, id);
CREATE TRIGGER consent_change_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
    ON pacsgrid.consent_change FOR EACH STATEMENT EXECUTE FUNCTION pacsgrid.append_only();
