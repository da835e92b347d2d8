#!/bin/sh
# While an image is built: takes Debian's packages from a mirror, if one is named, and trusts the private
# authorities beside this script before the package with the public ones is there.
set -eu
mirror=${1:-}
here=$(dirname "$0")
if [ -n "$mirror" ]; then
    find /etc/apt -name '*.list' -o -name '*.sources' | while read -r file; do
        sed -i -E "s#https?://[^ /]+/debian(-security)?#$mirror\1#g" "$file"
    done
fi
mkdir -p /etc/ssl/certs
for certificate in "$here"/*.crt; do
    [ -e "$certificate" ] || continue
    cat "$certificate" >> /etc/ssl/certs/pacsgrid-build.pem
    printf 'Acquire::https::CAInfo "/etc/ssl/certs/pacsgrid-build.pem";\n' > /etc/apt/apt.conf.d/90pacsgrid
done
