"""The dedup stage: signatures, duplicates, paragraphs."""
