"""The parts of a mixture: which columns each is made of, and where its tokens stand."""
