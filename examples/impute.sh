#!/usr/bin/env bash
# Imputation: 344 penguins, of which some were not weighed or sexed (palmerpenguins).
# Usage: impute.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi palmerpenguins 0.1.6

data=pypi/palmerpenguins/palmerpenguins/data/penguins.csv
run=runs/impute

metamae pretrain $data --out $run --size tiny --steps 1500 --seed 0 --overwrite
# Writes the table with its empty cells filled and all else as it was; then hides cells that are
# known, and whole columns, and says how far off what is filled in would be.
metamae impute $run $data --out penguins-filled.csv --check --overwrite
diff $data penguins-filled.csv | head -8 || true
