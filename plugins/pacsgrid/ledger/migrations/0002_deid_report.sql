-- What the anonymiser and the checker did with a study: tags and counts, nothing identifying.
CREATE TABLE pacsgrid.deid_report (
    ref text PRIMARY KEY REFERENCES pacsgrid.study,
    sha256 text NOT NULL,
    body text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
