"""The storage SCP as a service: one listener, one process per association (PS3.4 annex B)."""
