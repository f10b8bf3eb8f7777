"""Raw files to records: one module a format, the input units, the ingest stage, the demo corpus."""
