"""Settings chosen by short runs: what is searched over, what it costs, what comes of it."""

import json
import logging
import sys

import numpy as np
import pytest
from PIL import Image

import metamae
from command import TINY, refused, settings
from command import metamae as command
from conftest import walks
from metamae import ConfigError, DataError, Records, TrainingError
from metamae.pretraining import trials as short_runs
from metamae.pretraining import tune as tuning
from metamae.pretraining.pretrain import split, untrained
from metamae.pretraining.trials import Trial, kept, override, search_space
from metamae.pretraining.tune import pretrain_tuned, tune
from metamae.run.config import Choices, choose
from metamae.run.folder import read_run
from metamae.training.log import read_metrics

SERIES = walks(80, 2, 16)
TABLE = np.random.default_rng(0).normal(size=(80, 4))


@pytest.fixture
def brief(monkeypatch):
    """Let runs be so short that a test is."""
    monkeypatch.setattr(tuning, "FEWEST_STEPS", 1)


def space_of(data, **given):
    asked = {**TINY, **given}
    return search_space(choose(Choices(), asked), untrained(data, settings=asked))


def test_the_default_comes_first_and_the_cell_is_searched_where_there_is_one():
    space = space_of(SERIES, size="tiny")
    default = untrained(SERIES, settings={**TINY, "size": "tiny"})
    assert list(space) == ["masking.ratio", "train.lr", "modality.cell"]
    assert space["masking.ratio"][0] == default.config.settings["masking"]["ratio"]
    assert space["train.lr"] == pytest.approx([2e-3, 6e-4, 6e-3])
    assert space["modality.cell"][0] == list(default.schema.modality.cell)
    assert all(len(values) == len({str(value) for value in values}) for values in space.values())
    assert list(space_of(TABLE)) == ["masking.ratio", "train.lr"]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"ratio": 0.5}, ["train.lr", "modality.cell"]),
        ({"masking.ratio": 0.5}, ["train.lr", "modality.cell"]),
        ({"train.lr": 1e-3}, ["masking.ratio", "modality.cell"]),
        ({"cell": 2}, ["masking.ratio", "train.lr"]),
        ({"method": "emix"}, ["train.lr", "modality.cell"]),
        ({"ratio": 0.5, "lr": 1e-3, "cell": 2}, []),
    ],
)
def test_what_is_given_is_not_searched_over(given, left):
    assert list(space_of(SERIES, **given)) == left


def test_cells_leave_neither_too_few_tokens_nor_too_many():
    def cells(length, cell):
        default = untrained(walks(20, 1, length), settings={**TINY, "cell": cell})
        return search_space(choose(Choices(), {}), default).get("modality.cell")

    assert cells(16, 4) == [[4], [2]]  # 8 would leave 2 tokens
    assert cells(64, 4) == [[4], [2], [8]]
    assert cells(1200, 2) == [[2], [4]]  # 1 would make 1,200
    assert cells(6, 1) is None


def test_the_trials_keep_their_share_and_the_run_gets_the_rest(brief):
    asked = {**TINY, "steps": 144, "batch_size": 8}
    tuned = tune(TABLE, settings=asked)
    # A quarter of 144 is 36: nine runs of 2 steps, then three of 6.
    assert tuned.used == {"steps": 36}
    assert [trial.steps for trial in tuned.trials if not trial.pruned] == [2 + 6] * 3
    assert [trial.steps for trial in tuned.trials if trial.pruned] == [2] * 6
    assert tuned.settings["train.steps"] == 144 - 36 and "steps" not in tuned.settings
    assert tuned.settings["batch_size"] == 8
    best = max((t for t in tuned.trials if not t.pruned), key=lambda t: t.score)
    assert tuned.chosen == best.settings
    assert all(tuned.settings[name] == value for name, value in best.settings.items())
    tried = [tuple(trial.settings.values()) for trial in tuned.trials]
    assert len(set(tried)) == 9
    ratio, lr = tried[0]
    default = untrained(TABLE, settings=asked).config
    assert (ratio, lr) == (default.settings["masking"]["ratio"], default.train.lr)


def test_a_budget_in_epochs_is_one_in_steps(brief):
    # 80 samples less 4 that are held out are 9 batches of 8.
    tuned = tune(TABLE, settings={**TINY, "epochs": 16, "batch_size": 8})
    assert tuned.used == {"steps": 36} and tuned.settings["train.steps"] == 9 * 16 - 36
    assert "epochs" not in tuned.settings


def test_the_same_seed_leads_to_the_same_choice(brief):
    def told(seed):
        found = tune(TABLE, settings={**TINY, "steps": 80, "seed": seed})
        return [(trial.settings, trial.score, trial.pruned) for trial in found.trials]

    first = told(1)
    assert first == told(1)
    assert first != told(2)


def test_a_small_budget_tries_fewer_and_a_tiny_one_none(caplog):
    caplog.set_level(logging.WARNING, "metamae")
    tuned = tune(TABLE, settings={**TINY, "steps": 800, "batch_size": 8})
    # 200 steps are three runs of 66; four runs of 50 would leave nothing for a second round.
    assert [trial.steps for trial in tuned.trials] == [66] * 3
    asked = {**TINY, "steps": 396}
    tuned = tune(TABLE, settings=asked)
    assert tuned.trials == () and tuned.settings == asked
    assert "nothing is tuned: 25 % of 396 steps are not two runs of 50 steps" in caplog.text


@pytest.mark.parametrize(
    ("data", "more", "reason"),
    [
        (TABLE, {"ratio": 0.5, "lr": 1e-3}, "every setting that could be has been given"),
        (TABLE[:49], {}, "fewer than 50 samples"),
    ],
)
def test_where_there_is_nothing_to_tune_the_settings_stay(data, more, reason, caplog):
    asked = {**TINY, "steps": 800, **more}
    tuned = tune(data, settings=asked)
    assert tuned.settings == asked and tuned.trials == () and tuned.chosen == {}
    assert reason in caplog.text


def test_a_trial_that_fails_loses(brief, monkeypatch):
    run = short_runs.pretrain
    asked = {**TINY, "steps": 80}
    default = untrained(TABLE, settings=asked).config.train.lr

    def failing(records, *, settings, **others):
        if settings["train.lr"] == default:
            raise TrainingError("Train.loss must be finite; got nan.\nMore.")
        return run(records, settings=settings, **others)

    monkeypatch.setattr(short_runs, "pretrain", failing)
    tuned = tune(TABLE, settings=asked)
    first = tuned.trials[0]
    assert first.failed == "Train.loss must be finite; got nan." and first.score is None
    assert not first.pruned and tuned.chosen["train.lr"] != default
    assert tuned.used["steps"] <= 20


def test_if_all_fail_the_first_reason_is_told(brief, monkeypatch):
    def failing(*args, **others):
        raise DataError("sample 7 is bad")

    monkeypatch.setattr(short_runs, "pretrain", failing)
    with pytest.raises(TrainingError, match="all 9 failed, the first because: sample 7 is bad"):
        tune(TABLE, settings={**TINY, "steps": 144})


def test_ctrl_c_in_a_trial_ends_all_and_writes_nothing(brief, monkeypatch, tmp_path):
    def interrupted(*args, **others):
        raise KeyboardInterrupt

    monkeypatch.setattr(short_runs, "pretrain", interrupted)
    level = logging.getLogger("metamae").level
    with pytest.raises(KeyboardInterrupt):
        pretrain_tuned(TABLE, tmp_path / "run", settings={**TINY, "steps": 144})
    assert not (tmp_path / "run").exists()
    assert logging.getLogger("metamae").level == level


def test_a_budget_in_minutes_is_kept(brief):
    minutes = 6 / 60
    tuned = tune(TABLE, settings={**TINY, "minutes": minutes, "batch_size": 8})
    assert tuned.trials and set(tuned.used) == {"minutes"}
    left = tuned.settings["train.minutes"]
    assert 0.75 * minutes <= left < minutes
    assert left == pytest.approx(max(minutes - tuned.used["minutes"], 0.75 * minutes), rel=0.02)


def test_time_that_is_up_ends_the_trials(brief, monkeypatch):
    over = iter([False, True])
    monkeypatch.setattr(tuning._Allowance, "over", lambda self, trials: next(over))
    tuned = tune(TABLE, settings={**TINY, "steps": 144})
    assert len(tuned.trials) == 2 and tuned.used == {"steps": 4}
    assert tuned.settings["train.steps"] == 140


def test_the_size_is_that_of_the_run_proper(brief, monkeypatch):
    sizes = []
    run = short_runs.pretrain

    def noted(*args, **others):
        found = run(*args, **others)
        sizes.append(found[0].config.size)
        return found

    monkeypatch.setattr(short_runs, "pretrain", noted)
    wanted = lambda *, minutes, **others: "small" if minutes and minutes > 0.2 else "tiny"  # noqa: E731
    monkeypatch.setattr("metamae.run.config.auto_size", wanted)
    tuned = tune(TABLE, settings={**TINY, "minutes": 0.6})
    assert tuned.settings["size"] == "small" and set(sizes) == {"small"}


def test_the_same_samples_judge_every_trial_and_are_not_learnt_from(brief, monkeypatch):
    from metamae.training.batches import Batches

    index, learnt, judged = Batches.index, set(), []

    def noted(batches, number):
        found = index(batches, number)
        learnt.update(map(tuple, np.asarray(batches.records["X"][found])))
        return found

    def scored(train, test, raw_train, raw_test):
        judged.append((len(train), len(test), raw_test.tobytes()))
        return 0.0

    monkeypatch.setattr(Batches, "index", noted)
    monkeypatch.setattr(short_runs, "kept", scored)
    # Nine runs of 4 steps and three of 12, which are more than one pass.
    tuned = tune(TABLE, settings={**TINY, "steps": 288, "batch_size": 8})
    assert len(set(judged)) == 1 and judged[0][:2] == (64, 16)
    held_out = split(Records({"X": TABLE}, "x"), 16, seed=0)[1]
    assert len(learnt) == 64 and not learnt & set(map(tuple, np.asarray(held_out["X"][:])))
    # All are alike, so that the default stays.
    assert tuned.chosen == tuned.trials[0].settings


def test_bad_samples_that_may_be_set_aside_do_not_stop_the_trials(brief):
    gappy = TABLE.copy()
    gappy[7] = np.nan
    with pytest.raises(DataError):
        tune(gappy, settings={**TINY, "steps": 144})
    assert tune(gappy, settings={**TINY, "steps": 144}, skip_bad=1).used == {"steps": 36}


def test_files_that_a_reader_leaves_out_do_not_stop_the_trials(brief, tmp_path):
    rng = np.random.default_rng(0)
    for n in range(60):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / f"{n:02}.png")
    (tmp_path / "05.png").write_bytes(b"no picture")
    whole = (tmp_path / "07.png").read_bytes()
    (tmp_path / "07.png").write_bytes(whole[:-20])
    assert tune(tmp_path, settings={**TINY, "steps": 144}, skip_bad=2).trials


def test_bad_samples_are_looked_for_once_for_all_trials(brief, monkeypatch):
    looked_at = []

    def noted(spec, records, aside, most, **limits):
        looked_at.append(min(most, len(records)))
        return records

    monkeypatch.setattr("metamae.run.screening.look_through", noted)
    assert len(tune(SERIES, settings={**TINY, "steps": 144}).trials) > 1
    assert looked_at == [len(SERIES)]


def test_what_an_embedding_keeps():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(400, 6)).astype(np.float32)
    halves = raw[:200], raw[200:]
    turned = rng.normal(size=(6, 6))
    assert kept(*(half @ turned for half in halves), *halves) > 0.99
    few = [h[:, :3] for h in halves]
    assert 0.3 < kept(*few, *halves) < 0.7
    noise = [rng.normal(size=(200, 6)) for _ in range(2)]
    assert abs(kept(*noise, *halves)) < 0.1
    assert kept(np.zeros((200, 3)), np.zeros((200, 3)), *halves) == pytest.approx(0, abs=0.05)


def test_settings_replace_those_of_either_name():
    given = {"lr": 1, "train.steps": 5, "epochs": 2, "width": 16}
    new = {"train.lr": 2, "train.steps": None, "train.epochs": None, "masking.ratio": 0.5}
    assert override(given, new) == {"width": 16, "train.lr": 2, "masking.ratio": 0.5}


def test_a_tuned_run_has_the_chosen_settings_and_says_how_they_were_chosen(brief, tmp_path):
    out = tmp_path / "run"
    said = []
    trained, outcome = pretrain_tuned(
        SERIES,
        out,
        settings={**TINY, "steps": 144},
        stage=lambda name, done: said.append((name, done)),
    )
    document = json.loads((out / "tuning.json").read_text())
    config, schema = read_run(out)
    chosen = document["chosen"]
    assert outcome.progress.step == config.train.steps == 108
    assert config.train.lr == chosen["train.lr"]
    assert config.settings["masking"]["ratio"] == chosen["masking.ratio"]
    assert list(schema.modality.cell) == config.settings["modality"]["cell"]
    assert config.settings["modality"]["cell"] == chosen["modality.cell"]
    assert document["used"] == {"steps": 36} and len(document["trials"]) == 9
    assert {"held_out_r2", "effective_rank"} <= document["trials"][0]["health"].keys()
    assert trained.config == config
    assert len(said) == 12 and said[0][1] == 0 and said[0][0].startswith("trial 1, ratio ")


def test_fields_that_are_no_input_are_none_in_the_run_either(brief, data):
    fields = (name for name in ("kind", "size"))
    asked = {**TINY, "steps": 80, "ratio": 0.5}
    trained, _ = pretrain_tuned(data / "table.csv", settings=asked, ignore=fields)
    assert trained.schema.modality.columns == ("a", "b", "c")


def test_a_schema_file_says_what_is_input_and_how(brief, archive, tmp_path):
    schema = tmp_path / "schema.toml"
    said = command("inspect", archive, "--write", schema)
    assert said.status == 0, said.err
    asked = {**TINY, "steps": 80}
    tuned = tune(archive, settings=asked, schema=schema)
    # A file that inspect wrote gives the cell too.
    assert list(tuned.chosen) == ["masking.ratio", "train.lr"]
    trained, _ = metamae.pretrain(archive, settings=tuned.settings, schema=schema)
    assert trained.config.train.lr == tuned.chosen["train.lr"]


@pytest.fixture
def archive(tmp_path):
    np.save(tmp_path / "X.npy", SERIES)
    return tmp_path / "X.npy"


def test_the_command(brief, archive, tmp_path):
    out = tmp_path / "run"
    said = command("pretrain", archive, "--out", out, "--tune", *settings(**TINY, steps=144))
    assert said.status == 0 and said.out == ""
    lines = said.err.splitlines()
    assert sum(line.startswith("trial ") and " keeps " in line for line in lines) == 12
    (line,) = (line for line in lines if line.startswith("tuned: "))
    assert "ratio" in line and "lr" in line and "cell" in line and "108 steps left" in line
    # What every run says is said once.
    assert sum("attention over" in line for line in lines) == 1
    assert "108 steps in" in lines[-2] and (out / "tuning.json").is_file()
    assert read_metrics(out / "metrics.jsonl")[-1]["step"] == 108


def test_a_run_that_goes_on_is_not_tuned_again(brief, archive, tmp_path, monkeypatch):
    from metamae.training.loop import Run

    out = tmp_path / "run"
    given = ["pretrain", archive, "--out", out, "--tune", *settings(**TINY, steps=144)]
    with monkeypatch.context() as patch:
        save = Run.save

        def stopped(run):
            save(run)
            if run.folder is not None:
                raise KeyboardInterrupt

        patch.setattr(Run, "save", stopped)
        assert command(*given, *settings(checkpoint_every=50)).status == 130
    tried = (out / "tuning.json").read_bytes()
    said = command(*given, "--resume", *settings(checkpoint_every=50))
    assert said.status == 0, said.err
    assert "nothing is tuned: the run in" in said.err and "trial 1" not in said.err
    assert (out / "tuning.json").read_bytes() == tried
    assert [line["step"] for line in read_metrics(out / "metrics.jsonl")][-1] == 108


def test_a_folder_that_is_taken_is_refused_before_any_trial(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(short_runs, "pretrain", None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    said = command("pretrain", archive, "--out", tmp_path / "run", "--tune")
    assert "must be new or empty" in refused(said)
    said = command("pretrain", archive, "--out", tmp_path / "run", "--tune", "--set", "lrr=1")
    assert refused(said)


def test_without_optuna_the_message_names_the_extra(archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = command("pretrain", archive, "--out", tmp_path / "run", "--tune")
    message = refused(said)
    assert message.startswith("error: Tuning needs the library 'optuna'")
    assert message.endswith("pip install 'metamae[tune]' would do.")
    assert metamae.pretrain(TABLE, settings={**TINY, "steps": 1})[1].progress.step == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"trials": 1}, "Tune.trials must be"), ({"share": 1.0}, "Tune.share must be")],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        tune(TABLE, **options)


def test_a_trial_can_be_written_as_json():
    assert json.loads(json.dumps(vars(Trial(settings={"train.lr": 1e-3}))))["failed"] is None
