"""Which token spans share a context window: concat, best_fit and related packing, the pack stage."""
