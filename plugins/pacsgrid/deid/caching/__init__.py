"""Caches of the anonymiser: the same bytes of a header always give the same outcome."""
