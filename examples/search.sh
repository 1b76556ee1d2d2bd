#!/usr/bin/env bash
# Search: which of 640 spoken vowels are most like one of them, by the encoder of series.sh (aeon)?
# Usage: search.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi aeon 1.6.0

data="pypi/aeon/aeon/datasets/data/JapaneseVowels/JapaneseVowels_T*.ts"
run=runs/search

metamae pretrain "$data" --out $run --size tiny --steps 600 --seed 0 --overwrite
metamae search $run "$data" --query 0 --query 100 --k 5
# All of them as queries: the embeddings are there already.
metamae search $run "$data" --query "$data" --k 11 --out $run-hits.parquet --overwrite

# How many of the ten nearest others are by the same speaker, beside the means of the channels?
python - <<'PYTHON'
import glob
import numpy as np, pyarrow.parquet as pq

rows = []
for path in sorted(glob.glob("pypi/aeon/aeon/datasets/data/JapaneseVowels/JapaneseVowels_T*.ts")):
    rows += open(path).read().partition("@data")[2].split()
speaker = np.array([row.rpartition(":")[2] for row in rows])
means = np.array([[np.mean([float(v) for v in c.split(",")]) for c in r.split(":")[:-1]] for r in rows])
hits = pq.read_table("runs/search-hits.parquet").to_pandas()
hits = hits["position"].to_numpy().reshape(len(rows), -1)
hits = np.array([[h for h in own if h != n][:10] for n, own in enumerate(hits)])
means = (means - means.mean(0)) / means.std(0)
away = ((means[:, None] - means[None]) ** 2).sum(-1) + 1e9 * np.eye(len(means))
near = np.argsort(away, axis=1)[:, :10]
chance = sum((speaker == s).mean() ** 2 for s in set(speaker))
for name, own in (("embeddings", hits), ("channel means", near)):
    print(f"{name}: {(speaker[own] == speaker[:, None]).mean():.3f} by the same speaker (chance {chance:.3f})")
PYTHON
