#!/bin/sh
# A role and a database for each part, and another role that owns the ledger. Run by the image's
# entrypoint when the cluster is new, and by `./site NAME up`: it makes what is missing.
set -eu
: "${PGPASSWORD:=$(cat /run/secrets/postgres_password)}"
export PGPASSWORD
ask() {
    database=$1
    shift
    psql -qAt -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname "$database" "$@"
}
for name in airflow ledger_owner ledger icat; do
    [ -z "$(ask postgres -c "SELECT 1 FROM pg_roles WHERE rolname = '$name'")" ] || continue
    # The password reaches psql by its input, so that no list of processes shows it.
    ask postgres <<END
CREATE ROLE $name LOGIN PASSWORD '$(cat "/run/secrets/${name}_password")';
END
done
for name in airflow ledger icat; do
    [ -z "$(ask postgres -c "SELECT 1 FROM pg_database WHERE datname = '$name'")" ] || continue
    ask postgres <<END
CREATE DATABASE $name OWNER $name ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE $name FROM PUBLIC;
END
done
# The processes that a killed scheduler has forked hold its connection open, and with it its locks: runs that
# it was looking at would stand still.
ask postgres <<END
ALTER ROLE airflow SET idle_in_transaction_session_timeout = '2min';
END
# Who owns a table can switch its triggers off: the ledger's services work as another role.
ask ledger <<END
REASSIGN OWNED BY ledger TO ledger_owner;
GRANT CONNECT, TEMPORARY ON DATABASE ledger TO ledger;
END
