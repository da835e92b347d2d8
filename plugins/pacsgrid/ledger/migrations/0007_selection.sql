-- Patients, accessions and studies that a steward named, encrypted like the vault: the settings of
-- a run in Airflow's database must not hold identifying values.
CREATE TABLE pacsgrid.selection (
    id text PRIMARY KEY,
    project text NOT NULL,
    sealed bytea NOT NULL,
    who text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
