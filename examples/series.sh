#!/usr/bin/env bash
# Series of different lengths: 640 vowels spoken by nine men, 12 channels, 7 to 29 steps (aeon).
# Usage: series.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi aeon 1.6.0

# The training and the test file are one data set in two shards; "y" is the speaker.
data="pypi/aeon/aeon/datasets/data/JapaneseVowels/JapaneseVowels_T*.ts"
run=runs/series

metamae inspect "$data" --label y
metamae pretrain "$data" --out $run --size tiny --steps 600 --seed 0 --overwrite
metamae embed $run "$data" --out $run.parquet --overwrite
metamae evaluate $run "$data" --label y
