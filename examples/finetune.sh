#!/usr/bin/env bash
# From labels to predictions, twice: digits, of which 200 of 1,257 have a label (scikit-learn), and
# 640 vowels spoken by nine men, who is to be told from the sound (aeon). Test samples are never
# seen before the test, not even without their labels.
# Usage: finetune.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

digits_of_sklearn
run=runs/finetune-digits

metamae pretrain digits-unlabelled.npz --out $run --size tiny --steps 2000 --seed 0 --overwrite
# All weights, then low-rank matrices only; the second is not held against fresh weights again.
metamae finetune $run digits-few.npz --label y --test digits-test.npz --out $run-full --seed 0 \
    --overwrite
metamae finetune $run digits-few.npz --label y --test digits-test.npz --out $run-lora \
    --how lora --no-scratch --seed 0 --overwrite

from_pypi aeon 1.6.0

folder=pypi/aeon/aeon/datasets/data/JapaneseVowels
train=$folder/JapaneseVowels_TRAIN.ts
test=$folder/JapaneseVowels_TEST.ts
run=runs/finetune-vowels

metamae pretrain $train --out $run --ignore y --size tiny --steps 300 --seed 0 --overwrite
metamae finetune $run $train --label y --test $test --out $run-full --seed 0 --overwrite

# The classes of new series, with their probabilities.
metamae predict $run-full $test --out $run-predictions.csv --overwrite
head -n 3 $run-predictions.csv
