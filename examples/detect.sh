#!/usr/bin/env bash
# Anomaly detection: a day of electricity demand in Italy, 24 hours (aeon). Normal are days from April
# to September; what is to be found are the winter days.
# Usage: detect.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi aeon 1.6.0

# 70 % of the summer days are what is known to be normal; all other days are scored.
[ -f power-normal.npz ] && [ -f power.npz ] || python - <<'PYTHON'
import pathlib
import numpy as np

lines = []
for part in ("TRAIN", "TEST"):
    path = pathlib.Path(f"pypi/aeon/aeon/datasets/data/ItalyPowerDemand/ItalyPowerDemand_{part}.ts")
    lines += path.read_text().partition("@data")[2].split()
x = np.array([[float(v) for v in line.partition(":")[0].split(",")] for line in lines], "float32")[:, None]
summer = np.array([line.rpartition(":")[2] == "2" for line in lines])
days = np.random.default_rng(0).permutation(np.flatnonzero(summer))
known = days[: round(0.7 * len(days))]
rest = np.setdiff1d(np.arange(len(x)), known)
np.savez("power-normal.npz", X=x[known])
np.savez("power.npz", X=x[rest], winter=(~summer[rest]).astype("int64"))
PYTHON
run=runs/detect

metamae pretrain power-normal.npz --out $run --size tiny --steps 600 --seed 0 --overwrite --set axes=1
# The label is only used to say how well the scores tell winter from summer.
metamae detect $run power.npz --normal power-normal.npz --label winter --false-alarms 0.05 \
    --out $run-scores.parquet --page $run-strange.html --overwrite
