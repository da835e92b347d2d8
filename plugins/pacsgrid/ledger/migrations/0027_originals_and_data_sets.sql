-- Whether the site keeps a received file as the original of its instance, to anonymise it again.
ALTER TABLE pacsgrid.received ADD COLUMN kept boolean NOT NULL DEFAULT false;

-- The files of a release's derived data set, once it is whole, and its copies in zones. A release is
-- one of pacsgrid.release; `proven_at` is NULL until a zone has recomputed every replica.
CREATE TABLE pacsgrid.data_set_file (
    project text NOT NULL,
    release text NOT NULL,
    version integer NOT NULL,
    path text NOT NULL,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    listed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, release, version, path)
);
CREATE TABLE pacsgrid.data_set_copy (
    project text NOT NULL,
    release text NOT NULL,
    version integer NOT NULL,
    zone text NOT NULL,
    proven_at timestamptz,
    replicas integer NOT NULL DEFAULT 0,
    lacking integer NOT NULL DEFAULT 0,
    bad integer NOT NULL DEFAULT 0,
    PRIMARY KEY (project, release, version, zone)
);
