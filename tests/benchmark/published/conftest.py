"""What every layout has to pass: an encoder learns from what it reads, and sees its challenges."""

from collections.abc import Callable

import numpy as np
import pytest

from metamae.benchmark.published.base import Published
from metamae.pretraining.pretrain import pretrain


@pytest.fixture
def learns() -> Callable[[Published], None]:
    """Check that two steps of pretraining run, and that the encoder embeds every challenge."""

    def check(published: Published) -> None:
        settings = {**published.settings, "size": "tiny", "steps": 2, "batch_size": 4, "workers": 0}
        encoder, outcome = pretrain(published.pretrain, settings=settings, device="cpu")
        assert outcome.progress.step == 2
        for challenge in published.challenges:
            for records in filter(None, (challenge.records, challenge.test)):
                assert set(challenge.not_input) <= set(records)
                inputs = records.without(challenge.not_input)
                vectors = encoder.embed(inputs.subset(np.arange(min(2, len(inputs)))))
                assert np.isfinite(vectors).all(), challenge.name

    return check
