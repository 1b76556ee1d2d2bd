"""Samples of several fields: which columns each part is made of, where its tokens stand."""

from metamae.modalities.mixture.mixture import Mixture as Mixture
