-- What tells a subject's patient from another one: keyed hashes of the header's words, which say
-- nothing without the project's key. Of a withdrawn patient nothing is kept.
CREATE TABLE pacsgrid.patient (
    project text NOT NULL,
    subject text NOT NULL,
    family text[] NOT NULL,
    given text[] NOT NULL,
    initials text[] NOT NULL,
    birth text NOT NULL,
    sex text NOT NULL,
    PRIMARY KEY (project, subject)
);
