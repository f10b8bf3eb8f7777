"""The stages, one file or folder each: what a stage reads, decides and writes, and how a takedown leaves it."""
