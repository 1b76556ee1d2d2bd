"""`Embedder` as a scikit-learn transformer."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from metamae import Embedder

FAST = {
    "width": 16,
    "depth": 1,
    "heads": 2,
    "decoder_width": 8,
    "decoder_depth": 1,
    "decoder_heads": 2,
}


@parametrize_with_checks([Embedder(max_steps=2, size="tiny", settings=FAST, random_state=0)])
def test_check_estimator(estimator, check) -> None:
    check(estimator)
