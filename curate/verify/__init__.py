"""Proofs about a finished run: every file, every count, every token."""
