"""What embedders are made of: models that turn texts into float vectors, words, projections, and int8."""
