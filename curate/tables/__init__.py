"""Committed tables: snapshots, readers, validation, the state of a workspace."""
