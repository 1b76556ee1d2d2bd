#!/usr/bin/env bash
# Pictures in the IDX files of the MNIST family: 10,000 pieces of clothing, 28 x 28 (Fashion-MNIST).
# Usage: images.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_debian dataset-fashion-mnist

# The smaller of the two files, to be quick. Its labels lie beside it and are found by their name.
data=debian/dataset-fashion-mnist/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz
run=runs/images

metamae inspect $data --label label
metamae pretrain $data --out $run --size tiny --steps 200 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label label
