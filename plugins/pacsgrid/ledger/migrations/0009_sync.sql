-- How far a source was asked for a project: every day up to this one.
CREATE TABLE pacsgrid.sync_place (
    project text NOT NULL,
    source text NOT NULL,
    through date NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, source)
);
