"""The commands that read and write files rather than serve: score, train, evaluate, data."""
