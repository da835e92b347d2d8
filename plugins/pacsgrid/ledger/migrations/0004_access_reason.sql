-- Re-identification needs a reason; that a held image is looked at needs none.
ALTER TABLE pacsgrid.access ADD COLUMN reason text NOT NULL DEFAULT '';
