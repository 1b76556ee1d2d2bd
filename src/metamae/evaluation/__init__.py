"""How good features are: probes, scores with intervals, and what they are compared with."""
