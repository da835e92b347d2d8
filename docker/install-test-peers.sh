#!/bin/sh
# Orthanc with its DICOMweb plugin, DCMTK, dicom3tools, Tesseract and Chromium from Debian, when this user may install them and they are absent.
# Without them the demo uses pynetdicom's own PACS and the tests that need them skip.
set -u
{ command -v Orthanc || [ -x /usr/sbin/Orthanc ]; } >/dev/null && [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] && command -v dciodvfy >/dev/null && command -v tesseract >/dev/null && command -v chromium >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
echo "installing Orthanc, orthanc-dicomweb, DCMTK, dicom3tools, Tesseract and Chromium from Debian"
export DEBIAN_FRONTEND=noninteractive
# The packages must not start a system-wide PACS: ours runs on its own ports.
export RUNLEVEL=1
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends orthanc orthanc-dicomweb dcmtk dicom3tools tesseract-ocr chromium fonts-dejavu-core; } >/dev/null 2>&1 \
  || echo "could not install them; going on without"
exit 0
