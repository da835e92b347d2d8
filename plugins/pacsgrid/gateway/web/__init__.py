"""DICOMweb (PS3.18) over the gateway's core, as an ASGI application."""

from pacsgrid.gateway.web.app import dicomweb

__all__ = ["dicomweb"]
