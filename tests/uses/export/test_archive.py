import json
import zipfile

import pytest
import torch

from metamae.uses.export.archive import pickled_entries


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2).requires_grad_(False)
        self.register_buffer("more", torch.ones(2), persistent=False)

    def forward(self, x):
        return self.layer(x) + self.more


@pytest.fixture(scope="module")
def exported():
    return torch.export.export(Small(), (torch.zeros(2, 3),))


def write(exported, path, samples):
    exported.example_inputs = samples
    torch.export.save(exported, path)
    return path


def altered(path, change):
    """Copy a file, with its entries as `change` makes them."""
    copy = path.with_name("altered.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return copy


def test_a_program_without_samples_holds_no_pickle(exported, tmp_path):
    assert pickled_entries(write(exported, tmp_path / "p.pt2", None)) == []


def test_samples_are_a_pickle(exported, tmp_path):
    path = write(exported, tmp_path / "p.pt2", ((torch.zeros(2, 3),), {}))
    assert pickled_entries(path) == ["data/sample_inputs/model.pt"]


@pytest.mark.parametrize(("kind", "entry"), [("weights", "layer.weight"), ("constants", "more")])
def test_tensors_that_are_pickled_are_named(exported, tmp_path, kind, entry):
    def change(name, content):
        if not name.endswith(f"model_{kind}_config.json"):
            return content
        listed = json.loads(content)
        listed["config"][entry]["use_pickle"] = True
        return json.dumps(listed)

    path = altered(write(exported, tmp_path / "p.pt2", None), change)
    assert pickled_entries(path) == [entry]


def test_the_older_form_is_all_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("version", "8.2")
        archive.writestr("serialized_state_dict.pt", b"PK")
    assert "serialized_state_dict.pt" in pickled_entries(tmp_path / "old.pt2")


def test_other_files_are_refused(exported, tmp_path):
    (tmp_path / "x.pt2").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"must be a file of torch\.export"):
        pickled_entries(tmp_path / "x.pt2")
    path = altered(write(exported, tmp_path / "p.pt2", None), lambda name, _: "[1]")
    with pytest.raises(ValueError, match=r"must be a file of torch\.export"):
        pickled_entries(path)
