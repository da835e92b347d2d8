#!/bin/sh
# Run once, by the image's entrypoint, when the cluster is new: a role and a database for each part.
set -eu
for name in airflow ledger icat; do
    # The password reaches psql by its input, so that no list of processes shows it.
    psql -q -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<END
CREATE ROLE $name LOGIN PASSWORD '$(cat "/run/secrets/${name}_password")';
CREATE DATABASE $name OWNER $name ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE $name FROM PUBLIC;
END
done
