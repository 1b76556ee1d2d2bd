"""What a score of strangeness is worth: raw baselines, alarms, and measures with labels."""
