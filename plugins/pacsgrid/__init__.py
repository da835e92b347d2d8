"""pacsgrid: medical images from PACS into a federated iRODS grid, anonymised and proven."""
