-- What tells a subject's patient from another one: keyed hashes of words in the header, which are
-- meaningless without the project's key. Rows of withdrawn patients are deleted.
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
