#!/usr/bin/env bash
# What an encoder says about 540 digits that it has never seen (scikit-learn): new classes from a few
# samples, which tokens matter, and whether an inner step at embedding time helps.
# Usage: digits.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

digits_of_sklearn
run=runs/digits

metamae pretrain digits-unlabelled.npz --out $run --size tiny --steps 2000 --seed 0 --overwrite

# Episodes: five of the ten digits, one or five samples of each; then a linear map for each episode.
metamae fewshot $run digits-test.npz --label y --ways 5 --shots 1
metamae fewshot $run digits-test.npz --label y --ways 5 --shots 5
metamae fewshot $run digits-test.npz --label y --ways 5 --shots 5 --adapter

metamae attribute $run digits-test.npz --label y

metamae evaluate $run digits-labelled.npz --label y --test digits-test.npz
metamae evaluate $run digits-labelled.npz --label y --test digits-test.npz --adapted
