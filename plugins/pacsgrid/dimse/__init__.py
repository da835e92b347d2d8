"""The DICOM upper layer and DIMSE messages, as sources, storage SCP and gateway share them.

pynetdicom asks a PACS (C-ECHO, C-FIND, C-MOVE): `pynetdicom_requestor`. Where instances stream
(storage SCP, gateway, C-GET, C-MOVE destination) they go through `message_channel` and `pdu`
instead, which never hold a whole dataset in memory. Both are built from one
`association_settings.AssociationSettings`.
"""
