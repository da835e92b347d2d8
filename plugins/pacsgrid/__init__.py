"""pacsgrid: medical images from PACS into a federated iRODS grid, anonymised and proven."""

import os

__version__ = "0.1.0"

# onnxruntime sends telemetry and writes to the user's cache directory, from its import on. Nothing
# that handles patient data may do so.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
