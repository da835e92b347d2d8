-- Re-identification wants a reason; looking at a held image is explained by its being held.
ALTER TABLE pacsgrid.access ADD COLUMN reason text NOT NULL DEFAULT '';
