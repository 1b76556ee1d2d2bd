#!/usr/bin/env bash
# From labels to predictions: 640 vowels spoken by nine men, who is to be told from the sound (aeon).
# The encoder sees the 270 training series only; the 370 others test it.
# Usage: finetune.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi aeon 1.6.0

folder=pypi/aeon/aeon/datasets/data/JapaneseVowels
train=$folder/JapaneseVowels_TRAIN.ts
test=$folder/JapaneseVowels_TEST.ts
run=runs/finetune

metamae pretrain $train --out $run --ignore y --size tiny --steps 300 --seed 0 --overwrite

# All weights, then low-rank matrices only; the second is not held against fresh weights again.
metamae finetune $run $train --label y --test $test --out $run-full --seed 0 --overwrite
metamae finetune $run $train --label y --test $test --out $run-lora --how lora --no-scratch \
    --seed 0 --overwrite

# The classes of new series, with their probabilities.
metamae predict $run-full $test --out $run-predictions.csv --overwrite
head -n 3 $run-predictions.csv
