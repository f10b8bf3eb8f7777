"""What everything stands on: errors, hashes, texts, the catalogue of tables. Imports nothing else of the package."""
