#!/usr/bin/env bash
# Gene expression: 765 genes in 700 blood cells of ten types (the .h5ad file in scanpy).
# Usage: genes.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi scanpy 1.11.5

data=pypi/scanpy/scanpy/datasets/10x_pbmc68k_reduced.h5ad
run=runs/genes

# Several genes make one token; which of them is measured on the data.
metamae inspect $data --label bulk_labels
metamae pretrain $data --out $run --size tiny --steps 200 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label bulk_labels
