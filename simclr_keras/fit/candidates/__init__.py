"""What fit tries: regressions on features, trainings by the stages, and the list of both."""
