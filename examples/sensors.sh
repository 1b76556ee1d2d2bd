#!/usr/bin/env bash
# Long recordings: 140 shoulder exercises of 20 people, measured at the wrist, 6 channels, hundreds
# to thousands of steps at 50 Hz (seglearn). Scored on people that the probe has not seen.
# Usage: sensors.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi seglearn 1.2.5

# The .npy file holds a pickled dictionary, which metamae refuses, as it does every pickle: it may
# run any code. This unpickler knows the parts of numpy arrays and nothing else. The recordings go
# as they are into a Parquet file, a row each.
[ -f sensors.parquet ] || python -W ignore - <<'PYTHON'
import pickle
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

class Arrays(pickle.Unpickler):
    def find_class(self, module, name):
        if name not in ("_reconstruct", "ndarray", "dtype", "encode"):
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)

with open("pypi/seglearn/seglearn/data/watch_dataset.npy", "rb") as file:
    np.lib.format.read_magic(file), np.lib.format.read_array_header_1_0(file)
    data = Arrays(file).load().item()
names = np.array(data["y_labels"])[data["y"]]
motion = [recording.tolist() for recording in data["X"]]  # (steps, channels) each
pq.write_table(pa.table({"motion": motion, "exercise": names, "person": data["subject"]}), "sensors.parquet")
PYTHON
data=sensors.parquet
run=runs/sensors

metamae inspect $data --field motion --set window=256
metamae pretrain $data --out $run --field motion --set window=256 --size tiny --steps 300 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label exercise --group person
