"""Operators: each does one action of the pipeline, in pacsgrid's DAGs or in a site's own."""
