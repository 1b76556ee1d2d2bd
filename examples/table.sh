#!/usr/bin/env bash
# A table of numbers and categories: 4,642 births, whether the parents are married (statsmodels).
# Usage: table.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi statsmodels 0.15.0

data=pypi/statsmodels/statsmodels/treatment/tests/results/cataneo2.csv
run=runs/table

# This finds that "mmarried_", the label once more as a number, gives it away.
metamae inspect $data --label mmarried

metamae pretrain $data --out $run --ignore mmarried --ignore mmarried_ \
    --size tiny --steps 300 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label mmarried
