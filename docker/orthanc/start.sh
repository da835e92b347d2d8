#!/bin/bash
# Orthanc, and nginx that speaks HTTPS before it. They live and die together: the engine then starts both again.
nginx -c /etc/nginx/nginx.conf -g "daemon off;" &
/usr/sbin/Orthanc /etc/orthanc &
trap 'kill $(jobs -p)' TERM INT
wait -n
status=$?
kill $(jobs -p) 2>/dev/null
wait
exit "$status"
