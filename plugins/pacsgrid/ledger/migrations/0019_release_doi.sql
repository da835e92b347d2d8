-- What a version is called and the DOI that was reserved for it, so that the next version names both.
ALTER TABLE pacsgrid.release
    ADD COLUMN title text NOT NULL DEFAULT '',
    ADD COLUMN doi text NOT NULL DEFAULT '';
