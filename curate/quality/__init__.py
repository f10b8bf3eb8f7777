"""Which documents are worth training on: statistics, rules, language, classifiers, the quality stage."""
