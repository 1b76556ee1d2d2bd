"""Which tokens an answer rests on."""
