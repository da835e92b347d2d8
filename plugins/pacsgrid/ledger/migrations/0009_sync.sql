-- The last study date up to which a source was queried for a project.
CREATE TABLE pacsgrid.sync_place (
    project text NOT NULL,
    source text NOT NULL,
    through date NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, source)
);
