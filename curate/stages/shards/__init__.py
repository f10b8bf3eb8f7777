"""The shards stage: token spans travel to their windows, and windows are written in every wanted format."""
