-- Received files, by checksum, and the instance that came of each: what is known here need not stay
-- with the receiver. One instance may come of several files that differ in what is removed.
CREATE TABLE pacsgrid.received (
    ref text NOT NULL REFERENCES pacsgrid.study,
    sha256 text NOT NULL,
    sop_uid text NOT NULL,
    PRIMARY KEY (ref, sha256)
);

-- The report as it was when the study was taken up again, to which what came since is added.
ALTER TABLE pacsgrid.deid_report ADD COLUMN settled text;
