"""How a user's choices become every setting of a run, and back from a file."""

import tomllib
from dataclasses import asdict

import pytest

from cases import case
from metamae.errors import ArtifactError, ConfigError
from metamae.masking import MASKINGS
from metamae.methods import METHODS
from metamae.run.build import SIZES
from metamae.run.config import (
    SECTIONS,
    Choices,
    Config,
    choose,
    known_settings,
    parse_assignments,
    read_config_file,
    resolve,
)
from metamae.training.settings import TrainSettings, auto_batch_size


def resolved(settings=None, *, name="series", num_samples=5000, device="cpu"):
    spec, _ = case(name)
    return resolve(
        choose(Choices(), settings or {}),
        spec,
        num_samples=num_samples,
        device=device,
        data={"source": "array", "samples": num_samples},
        version="1.2.3",
    )


def test_everything_has_a_value():
    config = resolved()
    assert config.size in SIZES
    assert config.network == SIZES[config.size]
    assert isinstance(config.train.batch_size, int)
    budgets = (config.train.steps, config.train.minutes, config.train.epochs)
    assert sum(value is not None for value in budgets) == 1
    assert config.settings["method"].keys() == METHODS.settings(config.method).keys()
    assert config.settings["masking"].keys() == MASKINGS.settings(config.masking).keys()


@pytest.mark.parametrize("name", ["series", "codes", "numbers"])
def test_the_modality_says_how_much_to_hide_unless_the_user_does(name):
    spec, _ = case(name)
    assert resolved(name=name).settings["masking"]["ratio"] == spec.mask_ratio
    assert resolved({"ratio": 0.3}, name=name).settings["masking"]["ratio"] == 0.3


def test_the_modality_says_what_suits_it_unless_the_user_does():
    spec, _ = case("codes")
    assert "inner_lr" in spec.suited
    assert resolved(name="codes").settings["method"]["inner_lr"] == spec.suited["inner_lr"]
    assert resolved({"inner_lr": 0.3}, name="codes").settings["method"]["inner_lr"] == 0.3
    assert "inner_lr" not in resolved({"method": "mae"}, name="codes").settings["method"]
    own = METHODS.settings("metamae")["inner_lr"]
    assert resolved(name="numbers").settings["method"]["inner_lr"] == own


@pytest.mark.parametrize(
    ("settings", "place", "value"),
    [
        ({"lr": 0.01}, lambda c: c.train.lr, 0.01),
        ({"train.lr": 0.01}, lambda c: c.train.lr, 0.01),
        ({"depth": 3}, lambda c: c.network.depth, 3),
        ({"network.dropout": 0.2}, lambda c: c.network.dropout, 0.2),
        ({"inner_lr": 0.1}, lambda c: c.settings["method"]["inner_lr"], 0.1),
        ({"masking": "block", "blocks": 3}, lambda c: c.settings["masking"]["blocks"], 3),
        ({"masking": "span"}, lambda c: c.masking, "span"),
        ({"method": "mae"}, lambda c: c.method, "mae"),
        ({"seed": 7}, lambda c: c.seed, 7),
        ({"cell": 4}, lambda c: c.settings["modality"]["cell"], 4),
        (
            {"epochs": 3},
            lambda c: (c.train.epochs, c.train.steps, c.train.minutes),
            (3, None, None),
        ),
        ({"minutes": 2}, lambda c: (c.train.minutes, c.train.steps), (2, None)),
        ({"size": "base"}, lambda c: c.network, SIZES["base"]),
        ({"batch_size": 10}, lambda c: c.train.batch_size, 10),
    ],
)
def test_settings_find_their_place(settings, place, value):
    assert place(resolved(settings)) == value


def test_later_settings_win_and_earlier_ones_stay():
    first = choose(Choices(), {"lr": 0.1, "steps": 5, "seed": 3})
    second = choose(first, {"train.lr": 0.2})
    assert second.settings["train"] == {"lr": 0.2, "steps": 5}
    assert second.seed == 3
    assert first.settings["train"]["lr"] == 0.1


def test_the_papers_size_brings_its_optimiser_unless_the_user_has_one():
    paper = resolved({"size": "paper"}).train
    assert (paper.lr, paper.weight_decay, paper.schedule) == (1e-4, 1e-4, "constant")
    assert resolved({"size": "paper", "lr": 0.5}).train.lr == 0.5


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"inner_rl": 1}, r"Unknown setting 'inner_rl'\. Did you mean 'inner_lr'\? Known: "),
        ({"train.inner_lr": 1}, r"Unknown setting 'train\.inner_lr'\. "),
        ({"nothing.lr": 1}, r"Unknown setting 'nothing\.lr'\. "),
        ({"blocks": 2}, r"Unknown setting 'blocks'\. "),  # of another masking
        ({"method": "mae", "inner_lr": 1}, r"Unknown setting 'inner_lr'\. "),
        ({"method": "metamea"}, r"Unknown method 'metamea'\. Did you mean 'metamae'\?"),
        ({"method": 3}, r"Unknown method 3\. "),
        ({"masking": "rand"}, r"Unknown masking 'rand'\. "),
        (
            {"size": "huge"},
            r"Pretrain\.size must be one of .*; got 'huge'\..*Known: auto, base, pa",
        ),
        ({"modality": "imag"}, r"Pretrain\.modality must be .*'imag'\. Did you mean 'image'\?"),
        ({"seed": -1}, r"Pretrain\.seed must be a whole number of at least 0; got -1"),
        ({"seed": None}, r"Pretrain\.seed must be a whole number of at least 0; got None"),
        (
            {"steps": 5, "minutes": 1},
            r"Train must have one budget .*; got \{'steps': 5, 'minutes': 1",
        ),
        ({"steps": 0}, r"Train\.steps must be a whole number of at least 1; got 0"),
        ({"epochs": 1.5}, r"Train\.epochs must be a whole number of at least 1; got 1\.5"),
        ({"minutes": 0}, r"Train\.minutes must be a number strictly between 0 and inf; got 0"),
        ({"lr": -1}, r"Train\.lr must be a number strictly between 0 and inf; got -1"),
        ({"warmup": 2}, r"Train\.warmup must be a number between 0 and 1; got 2\. 0\.5 would do"),
        ({"schedule": "cosin"}, r"Train\.schedule must be .*'cosin'\. Did you mean 'cosine'\?"),
        ({"precision": "float16"}, r"Train\.precision must be one of .*; got 'float16'"),
        ({"batch_size": "big"}, r"Train\.batch_size must be 'auto' or .*; got 'big'\. 64 would do"),
        ({"batch_size": 1}, r"Train\.batch_size must be a whole number of at least 2; got 1"),
        (
            {"batch_size": 5001},
            r"at most the number of training samples; got 5001 for 5000\. 5000 ",
        ),
        ({"heads": 7}, r"Network\.width must be even and a multiple of Network\.heads"),
    ],
)
def test_mistakes_are_refused(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        resolved(settings)


def test_ambiguous_names_must_name_their_section(monkeypatch):
    known = known_settings(Choices())
    twice = {**known, "method": {**known["method"], "lr": 1}}
    monkeypatch.setattr("metamae.run.config.known_settings", lambda choices: twice)
    rule = (
        r"Setting 'lr' must name its section; it stands in method and train\. method\.lr would do"
    )
    with pytest.raises(ConfigError, match=rule):
        choose(Choices(), {"lr": 1})
    assert choose(Choices(), {"train.lr": 2}).settings["train"] == {"lr": 2}


def test_no_name_stands_in_two_sections():
    for method in METHODS.entries:
        for masking in MASKINGS.entries:
            known = known_settings(Choices(method=method, masking=masking))
            assert tuple(known) == SECTIONS
            names = [name for section in known.values() for name in section]
            assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "settings", [{}, {"method": "mae", "masking": "block"}, {"minutes": 1.5, "cell": [4]}]
)
def test_a_configuration_survives_toml(settings):
    config = resolved(settings)
    text = config.to_toml()
    again = Config.from_toml(text, "config.toml")
    assert again == config
    assert again.to_toml() == text
    document = tomllib.loads(text)
    assert {"version", "seed", "size", "data", *SECTIONS} == document.keys()
    assert document["network"] == asdict(config.network)


def test_a_runs_file_gives_the_same_run_again(tmp_path):
    settings = {"method": "mae", "masking": "span", "length": 3, "epochs": 2, "cell": 4, "seed": 9}
    config = resolved(settings)
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert resolved(read_config_file(path)) == config


@pytest.mark.parametrize(
    "text",
    [
        "",
        "seed = ",
        "seed = 1",
        resolved().to_toml().replace('name = "metamae"', ""),
        resolved().to_toml().replace("heads = 4", "heads = 7"),
        resolved().to_toml().replace("depth =", "deepness ="),
        resolved().to_toml().replace("warmup =", "warm_up ="),
    ],
)
def test_damaged_configurations_are_refused(text):
    rule = (
        r"run/config\.toml must hold the configuration of a run; got .*\. The file is damaged: re"
    )
    with pytest.raises(ArtifactError, match=rule):
        Config.from_toml(text, "run/config.toml")


def test_assignments():
    assert parse_assignments(["lr=0.1", "masking=block", " a.b = [1, 2] ", "x=true", 'y="1"']) == {
        "lr": 0.1,
        "masking": "block",
        "a.b": [1, 2],
        "x": True,
        "y": "1",
    }
    # As messages write them, which speak Python.
    assert parse_assignments(
        ["mode='RGB'", "types={'zip': 'text'}", "header=False", "cell=4,2"]
    ) == {
        "mode": "RGB",
        "types": {"zip": "text"},
        "header": False,
        "cell": (4, 2),
    }
    assert parse_assignments(["path=a=b", "empty="]) == {"path": "a=b", "empty": ""}
    for text in ("lr", "=3", ""):
        with pytest.raises(
            ConfigError, match=r"--set must be key=value; got .*\. lr=0\.001 would do"
        ):
            parse_assignments([text])


def test_config_files(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('seed = 3\nlr = 0.1\n[masking]\nname = "block"\nblocks = 2\n[data]\nx = 1\n')
    assert read_config_file(path) == {
        "seed": 3,
        "lr": 0.1,
        "masking": "block",
        "masking.blocks": 2,
    }
    for bad in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(ConfigError, match=r"--config must be a readable TOML file; got "):
            read_config_file(bad)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"run\.toml: .*A run's config\.toml would do\."):
        read_config_file(path)


@pytest.mark.parametrize("num_tokens", [1, 64, 1000, 10**6])
@pytest.mark.parametrize("num_samples", [2, 3, 15, 16, 100, 1000, 10**6])
def test_automatic_batches_fit(num_samples, num_tokens):
    size = auto_batch_size(num_samples, num_tokens)
    assert 2 <= size <= min(256, num_samples)
    assert size == num_samples or size & (size - 1) == 0
    assert TrainSettings(batch_size=size).batch_size == size
    assert size <= 16 or size * num_tokens <= 16384
