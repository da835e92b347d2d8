#!/bin/sh
# Serves nginx with the name server of its network: a service that restarts gets another address.
set -eu
awk '$1 == "nameserver" && $2 !~ /:/ { print "resolver " $2 " valid=10s ipv6=off;"; exit }' \
    /etc/resolv.conf > /tmp/resolver.conf
exec nginx -g "daemon off;" "$@"
