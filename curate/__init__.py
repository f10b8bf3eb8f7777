"""Curate: from raw text to ordered, packed, long-context training shards, every token and every removal explained."""
