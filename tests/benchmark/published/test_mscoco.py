"""MSCOCO and VQA: JPEG files in one folder for each part, and JSON files with long lists."""

import json

import numpy as np
import pytest
from PIL import Image

from metamae.benchmark.published import LAYOUTS
from metamae.errors import DataError

PARTS = {"train2017": range(100, 124), "val2017": range(500, 506)}


def picture(path, number):
    """A photograph of any size whose blue tells its number; every fifth is grey."""
    pixels = np.full((40 + number % 7, 60, 3), number % 256, dtype=np.uint8)
    image = Image.fromarray(pixels)
    (image.convert("L") if number % 5 == 0 else image).save(path, quality=95)


def write_coco(root):
    (root / "annotations").mkdir(parents=True)
    for part, numbers in PARTS.items():
        (root / part).mkdir()
        annotations = []
        for turn in range(2):
            for number in numbers:
                if turn == 0:
                    picture(root / part / f"{number:012d}.jpg", number)
                text = f"A photo of number {number}, {'last' if turn else 'first'} words."
                annotations.append({"image_id": number, "id": len(annotations), "caption": text})
        document = {
            "info": {"year": 2017},
            "licenses": [{"id": 1}],
            "images": [{"id": n, "file_name": f"{n:012d}.jpg"} for n in numbers],
            "annotations": annotations,
        }
        (root / "annotations" / f"captions_{part}.json").write_text(json.dumps(document))


def write_vqa(root):
    for part, numbers in (("train2014", range(10, 18)), ("val2014", range(30, 34))):
        (root / part).mkdir(parents=True)
        questions, annotations = [], []
        for number in numbers:
            picture(root / part / f"COCO_{part}_{number:012d}.jpg", number)
            for turn in range(3):
                key = 10 * number + turn
                # The third question of an image has a right answer that is no choice.
                choices = ["yes", "no", "1", "red"] if turn < 2 else ["no", "1", "red"]
                asked = {"image_id": number, "question": f"Is it {key}?", "question_id": key}
                questions.append({**asked, "multiple_choices": choices})
                answers = [{"answer": "yes", "answer_confidence": "maybe", "answer_id": 1}]
                annotations.append(
                    {
                        "question_type": "is it",
                        "multiple_choice_answer": "yes",
                        "answers": answers,
                        "image_id": number,
                        "answer_type": "yes/no",
                        "question_id": key,
                    }
                )
        head = {"info": {}, "task_type": "Multiple-Choice", "data_type": "mscoco", "license": {}}
        text = json.dumps({**head, "questions": questions, "num_choices": 18})
        (root / f"MultipleChoice_mscoco_{part}_questions.json").write_text(text)
        text = json.dumps({**head, "annotations": annotations})
        (root / f"mscoco_{part}_annotations.json").write_text(text)


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    write_coco(root)
    return root


@pytest.fixture(scope="module")
def vqa(tmp_path_factory):
    root = tmp_path_factory.mktemp("vqa")
    write_vqa(root)
    return root


def test_images_with_their_last_caption(coco):
    published = LAYOUTS.build("mscoco", size=32).read(coco)
    records = published.pretrain
    assert list(records) == ["image", "caption"]
    assert records["image"].shape == (24, 3, 32, 32)
    images, captions = records["image"][:], records["caption"][:]
    for number, image, caption in zip(PARTS["train2017"], images, captions, strict=True):
        assert caption == f"A photo of number {number}, last words."
        assert abs(float(image.mean()) - number) < 2


def test_mismatched_captions(coco):
    (challenge,) = LAYOUTS.build("mscoco", size=32).read(coco).challenges
    for records, part in ((challenge.records, "train2017"), (challenge.test, "val2017")):
        matches, captions = records["matches"][:], records["caption"][:]
        own = [f"A photo of number {n}, last words." for n in PARTS[part]]
        assert sorted(captions) == sorted(own), "captions are exchanged, none is lost"
        assert {0, 1} == set(matches)
        moved = [c != o for c, o in zip(captions, own, strict=True)]
        assert [m == 0 for m in matches] == moved


def test_questions_and_answers(vqa):
    published = LAYOUTS.build("vqa", size=32).read(vqa)
    (challenge,) = published.challenges
    assert list(published.pretrain) == ["image", "caption"]
    assert (len(challenge.records), len(challenge.test)) == (16, 8)
    assert challenge.not_input == ["right", "picture"]
    assert set(challenge.records["right"][:]) == {0, 1}
    rows = zip(*(challenge.records[n][:] for n in ("caption", "right", "picture")), strict=True)
    for position, (text, right, number) in enumerate(rows):
        assert text.startswith(f"Is it {number}{position % 2}? ")
        assert text.endswith(" yes") == bool(right)
    means = challenge.records["image"][:].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, challenge.records["picture"][:], atol=2)


def test_an_encoder_learns(coco, vqa, learns):
    learns(LAYOUTS.build("mscoco", size=32).read(coco))
    learns(LAYOUTS.build("vqa", size=32).read(vqa))


def test_missing_and_damaged_files_of_mscoco(tmp_path):
    layout = LAYOUTS.build("mscoco", size=32)
    with pytest.raises(DataError, match=r"must hold annotations/captions_train2017.json"):
        layout.read(tmp_path)
    write_coco(tmp_path)
    path = tmp_path / "annotations" / "captions_val2017.json"
    whole = path.read_text()
    path.write_text(whole[:-100])
    with pytest.raises(DataError, match=r"captions_val2017.json must be a JSON object"):
        layout.read(tmp_path)
    path.write_text(whole.replace('"caption"', '"text"'))
    with pytest.raises(DataError, match=r"captions_val2017.json .* objects with image_id, caption"):
        layout.read(tmp_path)
    path.write_text(whole)
    (tmp_path / "val2017" / "000000000503.jpg").unlink()
    with pytest.raises(DataError, match=r"000000000503.jpg is not there"):
        layout.read(tmp_path)


def test_missing_and_damaged_files_of_vqa(tmp_path):
    layout = LAYOUTS.build("vqa", size=32)
    with pytest.raises(DataError, match=r"must hold MultipleChoice_mscoco_train2014_questions"):
        layout.read(tmp_path)
    write_vqa(tmp_path)
    path = tmp_path / "MultipleChoice_mscoco_val2014_questions.json"
    path.write_text(path.read_text().replace('"question_id": 310', '"question_id": 999'))
    with pytest.raises(DataError, match=r"every question .*; question 310 is not there"):
        layout.read(tmp_path)
