#!/usr/bin/env bash
# Images and words: 3,660 emoji of 64 x 64 pixels, 1,870 of them with a name; the label is the
# category. First the images alone, then image and name as a mixture, to compare.
# Usage: mixture.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_npm emoji-datasource-twitter 15.1.2

data=npm/emoji-datasource-twitter/img/twitter/64

# Names and categories lie in a JSON file of another structure: here they become a table beside the
# images, with a row for each, where it is found. Images that it does not list, most of the skin
# tones, have no name and no label.
python - $data/emoji.csv <<'PYTHON'
import csv, json, sys
emoji = json.load(open("npm/emoji-datasource-twitter/emoji.json", encoding="utf-8"))
rows = [
    (e["image"], e["name"].lower(), e["category"])
    for e in emoji
    if e["has_img_twitter"] and e["category"] != "Component"
]
with open(sys.argv[1], "w", encoding="utf-8", newline="") as file:
    csv.writer(file).writerows([("file", "name", "category"), *rows])
PYTHON

# Some files are RGBA, some RGB: a folder of mixed kinds is refused unless told what to make of it.
metamae inspect $data --set reader.mode=RGB --label category --write emoji.toml --overwrite

run=runs/emoji-images
metamae pretrain $data --set reader.mode=RGB --field image --out $run --size tiny --steps 200 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label category

# The schema says all that the options said; edit it to choose other inputs or settings.
run=runs/emoji-mixture
metamae pretrain $data --schema emoji.toml --out $run --size tiny --steps 200 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label category
