"""What users do beside a run: a first recipe, the demo corpus, training a classifier, exporting texts."""
