"""Tokenizers: texts in, token ids out."""
