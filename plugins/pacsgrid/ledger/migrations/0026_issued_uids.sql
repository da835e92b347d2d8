-- UIDs that a project issued, as pseudonyms or as UIDs of results. What comes in from outside and
-- refers to them keeps them. `seal` is a MAC by the project's key, so that a row that was not
-- written by who has the key counts for nothing.
CREATE TABLE pacsgrid.issued_uid (
    project text NOT NULL,
    uid text NOT NULL,
    seal bytea NOT NULL,
    PRIMARY KEY (project, uid)
);
