-- SHA-256 of the list of what was retrieved of a study, so that another staging folder of it, or
-- one that lacks files, is never taken for whole.
ALTER TABLE pacsgrid.study ADD COLUMN retrieved text NOT NULL DEFAULT '';
