from dataclasses import asdict, replace

import pytest
import torch

from cases import NETWORK, build, case, read, rng
from metamae.errors import ConfigError
from metamae.run.build import SIZES, Network, auto_size, build_method, step_cost


def test_parts_are_put_together():
    spec, _ = case("series")
    network = Network(
        width=24,
        depth=3,
        heads=4,
        mlp_ratio=1.5,
        dropout=0.25,
        decoder_width=12,
        decoder_depth=2,
        decoder_heads=3,
    )
    model = build(spec, network=network, inner_lr=0.3)
    assert model.inner_lr == 0.3
    assert model.masking.ratio == 0.5
    encoder, mixer = model.backbone.encoder, model.decoder.mixer
    assert (len(encoder.blocks), len(mixer.blocks)) == (3, 2)
    assert (encoder.blocks[0].heads, mixer.blocks[0].heads) == (4, 3)
    assert encoder.blocks[0].expand.weight.shape == (36, 24)
    assert mixer.blocks[0].expand.weight.shape == (18, 12)
    assert encoder.dropout == encoder.blocks[0].dropout == 0.25
    # The decoder must be the same function in both passes.
    assert mixer.dropout == mixer.blocks[0].dropout == 0


def test_a_seed_decides_the_weights():
    spec, _ = case("series")
    first, again, other = (build(spec, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not torch.equal(first["backbone.cls"], other["backbone.cls"])


@pytest.mark.parametrize("size", SIZES)
def test_every_size_can_be_built(size):
    spec, batch = read("series")
    assert build(spec, network=SIZES[size])(batch, rng()).loss.isfinite()


def test_sizes_grow():
    spec, _ = case("series")
    numbers = [
        sum(value.numel() for value in build(spec, network=SIZES[size]).parameters())
        for size in ("tiny", "small", "base", "paper")
    ]
    assert numbers == sorted(numbers)
    costs = [step_cost(SIZES[size], 64, 64) for size in ("tiny", "small", "base", "paper")]
    assert costs == sorted(costs)


def test_the_papers_network():
    # Jang et al., NeurIPS 2023, arXiv:2310.16318.
    assert asdict(SIZES["paper"]) == {
        "width": 256,
        "depth": 12,
        "heads": 8,
        "mlp_ratio": 2.0,
        "dropout": 0.1,
        "decoder_width": 128,
        "decoder_depth": 4,
        "decoder_heads": 4,
        "decoder": "joint",
    }


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {"heads": 3},
            r"Network\.width must be even and a multiple .*; got 16 for 3 heads\. 12 wo",
        ),
        (
            {"width": 15, "heads": 1},
            r"Network\.width must be even .*; got 15 for 1 heads\. 14 would",
        ),
        (
            {"decoder_heads": 3},
            r"Network\.decoder_width must be .*; got 8 for 3 heads\. 6 would do",
        ),
        ({"width": 0}, r"Network\.width must be a whole number of at least 1; got 0\. 1 would do"),
        ({"depth": 0}, r"Network\.depth must be a whole number of at least 1; got 0"),
        ({"depth": 2.0}, r"Network\.depth must be a whole number .*; got 2\.0"),
        (
            {"decoder_depth": "deep"},
            r"Network\.decoder_depth must be a whole number .*; got 'deep'",
        ),
        ({"dropout": 1.0}, r"Network\.dropout must be a number strictly between 0 and 1; got 1\.0"),
        ({"dropout": -0.1}, r"Network\.dropout must be a number .*; got -0\.1"),
        (
            {"mlp_ratio": 0},
            r"Network\.mlp_ratio must be a number strictly between 0 and inf; got 0",
        ),
    ],
)
def test_networks_that_cannot_be_are_refused(changes, rule):
    with pytest.raises(ConfigError, match=rule):
        replace(NETWORK, **changes)


@pytest.mark.parametrize(("width", "heads"), [(16, 3), (15, 1), (2, 8), (30, 4), (7, 7), (100, 7)])
def test_the_width_that_would_do_does(width, heads):
    with pytest.raises(ConfigError) as caught:
        replace(NETWORK, width=width, heads=heads)
    remedy = int(str(caught.value).split(" would do")[0].split()[-1])
    assert replace(NETWORK, width=remedy, heads=heads).width == remedy


def parts(**changes):
    spec, _ = case("series")
    settings = {
        "method": "metamae",
        "method_settings": {},
        "masking": "random",
        "masking_settings": {},
        "seed": 0,
    }
    return build_method(spec, NETWORK, **{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"masking": None}, r"Method 'metamae' needs a masking; got None\. random would do\."),
        ({"method": "metamea"}, r"Unknown method 'metamea'\. Did you mean 'metamae'\?"),
        (
            {"masking": "rnadom"},
            r"Unknown masking 'rnadom'\. Did you mean 'random'\? Known: block,",
        ),
        (
            {"masking_settings": {"rato": 1}},
            r"Masking 'random' has no setting 'rato'\. Did you mean",
        ),
        ({"method_settings": {"lr": 1}}, r"Method 'metamae' has no setting 'lr'\. "),
        (
            {"method": "mae", "method_settings": {"inner_lr": 1}},
            r"Method 'mae' has no .*Known: query_share",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, rule):
    with pytest.raises(ConfigError, match=rule):
        parts(**changes)


def test_a_refusal_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    with pytest.raises(ConfigError):
        parts(method_settings={"inner_lr": -1})
    assert torch.equal(torch.get_rng_state(), before)


def size(samples, minutes=None, device="cpu", tokens=64):
    return auto_size(
        num_samples=samples, num_tokens=tokens, batch_size=64, minutes=minutes, device=device
    )


def test_automatic_sizes_grow_with_data_and_budget():
    order = ["tiny", "small", "base"]
    for device in ("cpu", "cuda"):
        by_data = [order.index(size(n, device=device)) for n in (10, 1000, 10**4, 10**5, 10**7)]
        assert by_data == sorted(by_data)
        assert by_data[0] == 0
        by_time = [order.index(size(10**7, m, device)) for m in (1e-6, 1, 10, 100, 10**4)]
        assert by_time == sorted(by_time)
        assert by_time[0] == 0
        assert by_time[-1] == 2
    assert order.index(size(10**6, device="cpu")) < order.index(size(10**6, device="cuda"))
    assert order.index(size(10**7, 100, tokens=2048)) <= order.index(size(10**7, 100))
    assert size(10**4) == size(10**4)
