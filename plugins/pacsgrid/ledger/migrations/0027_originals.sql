-- Whether the site keeps a received file as the original of its instance, to anonymise it again.
ALTER TABLE pacsgrid.received ADD COLUMN kept boolean NOT NULL DEFAULT false;
