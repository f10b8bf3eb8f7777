"""The order stage: neighbours and claims by region, texts of suspects, semantic duplicates, and the path through the others."""
