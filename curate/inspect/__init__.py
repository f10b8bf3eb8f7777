"""A finished run, read-only: data, no rendering."""
