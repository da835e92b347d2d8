#!/bin/sh
# Makes the cluster when there is none, with its databases and roles, then serves it. The new cluster gets
# its name once it is whole, so that a start that was interrupted begins anew.
set -eu
settings=/etc/postgresql/postgresql.conf
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    rm -rf "$PGDATA.new"
    initdb --pgdata="$PGDATA.new" --username=postgres --pwfile=/run/secrets/postgres_password \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums >/dev/null
    pg_ctl start -s -w -D "$PGDATA.new" \
        -o "-c config_file=$settings -c listen_addresses= -c unix_socket_directories=/tmp"
    PGHOST=/tmp sh /etc/postgresql/make-databases.sh
    pg_ctl stop -s -w -m fast -D "$PGDATA.new"
    mv "$PGDATA.new" "$PGDATA"
    echo "postgres: made a new cluster"
fi
exec postgres -D "$PGDATA" -c "config_file=$settings" "$@"
