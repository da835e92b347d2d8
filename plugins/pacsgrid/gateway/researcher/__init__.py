"""The researcher's page: what they may read, what they may ask for, and what they asked for."""

from pacsgrid.gateway.researcher.app import researcher_page

__all__ = ["researcher_page"]
