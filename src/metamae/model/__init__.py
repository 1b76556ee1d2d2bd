"""The network between samples and losses; it never knows what the samples are."""
