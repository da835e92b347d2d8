"""Operators: one action of the pipeline each, for DAGs of pacsgrid's and of a site's own."""
