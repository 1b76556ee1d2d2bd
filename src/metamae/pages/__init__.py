"""Pictures and pages from saved results; no torch."""
