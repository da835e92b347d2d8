"""Sensors: tasks that wait, in the triggerer unless `deferrable` is False."""
