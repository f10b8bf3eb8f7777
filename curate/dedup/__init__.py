"""Which documents say the same: normalised words, shingles, signatures, buckets, components, keepers, the dedup stage."""
