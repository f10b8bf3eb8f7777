"""Looking at a finished run: statistics, explanations, samples, verification."""
