#!/bin/sh
# Orthanc with its DICOMweb plugin, DCMTK, dicom3tools, Tesseract, Chromium, and what reads the production stack's files (nginx, Redis,
# PostgreSQL with TLS, promtool, shellcheck) and MRIcron's templates (a head with its face) from Debian, when this user may install them and they are absent.
# Without them the demo uses pynetdicom's own PACS and the tests that need them skip.
set -u
export PATH="$PATH:/usr/sbin"
{ command -v Orthanc || [ -x /usr/sbin/Orthanc ]; } >/dev/null && [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] && command -v dciodvfy >/dev/null && command -v tesseract >/dev/null && command -v chromium >/dev/null \
  && command -v nginx >/dev/null && command -v redis-server >/dev/null && [ -x /usr/lib/postgresql/15/bin/postgres ] && command -v promtool >/dev/null && command -v shellcheck >/dev/null \
  && [ -e /usr/share/mricron/templates/ch2.nii.gz ] && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
echo "installing Orthanc, DCMTK, dicom3tools, Tesseract, Chromium, nginx, Redis, PostgreSQL, promtool, shellcheck and MRIcron's head from Debian"
export DEBIAN_FRONTEND=noninteractive
# The packages must not start their services: ours run on their own ports.
export RUNLEVEL=1
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends orthanc orthanc-dicomweb dcmtk dicom3tools tesseract-ocr chromium fonts-dejavu-core \
    nginx-light redis-server postgresql-15 prometheus shellcheck mricron-data; } >/dev/null 2>&1 \
  || echo "could not install them; going on without"
exit 0
