"""Pure functions from rows to figures: no I/O, no clock."""
