"""What is unlike the normal samples: scores, thresholds, baselines, a page of the strangest."""
