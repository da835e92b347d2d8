"""pacsgrid: medical images from hospital PACS into a federated iRODS grid, anonymised and proven."""
