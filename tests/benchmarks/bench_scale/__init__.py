"""`make bench-scale`: an archive of up to a million studies, simulated."""
