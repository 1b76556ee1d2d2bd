#!/usr/bin/env bash
# A table of numbers and categories: 4,642 births, whether the mother smoked (statsmodels).
# Usage: table.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi statsmodels 0.15.0

data=pypi/statsmodels/statsmodels/treatment/tests/results/cataneo2.csv
run=runs/table

# This finds that "msmoke" (how much) and "mbsmoke_" (the same as a number) give the label away.
metamae inspect $data --label mbsmoke

metamae pretrain $data --out $run --ignore mbsmoke --ignore msmoke --ignore mbsmoke_ \
    --size tiny --steps 300 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label mbsmoke
