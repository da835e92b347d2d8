-- Received files, by checksum, and the instance that each became: the receiver need not keep them.
-- Several files that differ in what the anonymiser removes may become one instance.
CREATE TABLE pacsgrid.received (
    ref text NOT NULL REFERENCES pacsgrid.study,
    sha256 text NOT NULL,
    sop_uid text NOT NULL,
    PRIMARY KEY (ref, sha256)
);

-- The report as it was when the study was reopened; the report of later files is added to it.
ALTER TABLE pacsgrid.deid_report ADD COLUMN settled text;
