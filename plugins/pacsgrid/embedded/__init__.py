"""Servers and sample data for trying and testing pacsgrid."""
