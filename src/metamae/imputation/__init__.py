"""Fill what is missing in samples: which tokens it is in, what to predict, how well that works."""
