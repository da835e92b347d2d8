-- What a steward asked for by name: patients, accessions, studies; encrypted like the vault, since
-- a run's settings in Airflow's database may hold nothing that identifies.
CREATE TABLE pacsgrid.selection (
    id text PRIMARY KEY,
    project text NOT NULL,
    sealed bytea NOT NULL,
    who text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
