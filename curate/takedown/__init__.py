"""Takedown: documents leave a finished run on request, and stay out."""
