#!/bin/sh
# Starts one of Airflow's parts, or one of pacsgrid's services. `init` brings the databases up to date
# and makes the users and roles; `./site NAME up` runs it before the others.
set -eu
case ${1:?which part?} in
init)
    airflow db migrate
    pacsgrid roles
    python "$(dirname "$0")/users.py"
    ;;
api-server) exec airflow api-server --proxy-headers ;;
scheduler | dag-processor | triggerer) exec airflow "$@" ;;
worker) exec airflow celery worker --concurrency "${PACSGRID_WORKER_SLOTS:-4}" ;;
receive | gateway) exec pacsgrid "$@" --log-format json ;;
statsd-exporter) exec python "$(dirname "$0")/statsd_exporter.py" /etc/statsd/mapping.yml ;;
pacsgrid)
    shift
    exec pacsgrid "$@"
    ;;
*)
    echo "start: no part $1" >&2
    exit 2
    ;;
esac
