"""Embedded servers and sample data, for the demo and the tests."""
