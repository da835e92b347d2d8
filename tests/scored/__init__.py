"""A de-identification benchmark with known answers, in the manner of MIDI-B."""
