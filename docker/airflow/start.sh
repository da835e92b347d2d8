#!/bin/sh
# Starts one of Airflow's parts, or one of pacsgrid's services. `init` brings the databases up to date
# and makes the users and roles; everything else waits for it.
set -eu
case ${1:?which part?} in
init)
    airflow db migrate
    airflow fab-db migrate
    python -m pacsgrid roles
    # user NAME ROLE SECRET: makes a user, or gives an old one its role and password again.
    user() {
        password=$(cat "/run/secrets/$3")
        airflow users create -u "$1" -r "$2" -f "$1" -l pacsgrid -e "$1@localhost" \
            -p "$password" >/dev/null
        airflow users reset-password -u "$1" -p "$password" >/dev/null
    }
    user admin Admin airflow_admin_password
    user receiver Op airflow_receiver_password
    ;;
api-server) exec airflow api-server --proxy-headers ;;
scheduler | dag-processor | triggerer) exec airflow "$@" ;;
worker) exec airflow celery worker --concurrency "${PACSGRID_WORKER_SLOTS:-4}" ;;
receive | gateway) exec python -m pacsgrid "$@" ;;
pacsgrid)
    shift
    exec python -m pacsgrid "$@"
    ;;
*)
    echo "start: no part $1" >&2
    exit 2
    ;;
esac
