#!/usr/bin/env bash
# Text: 10,605 sentences of film reviews, rated by people from -4 to 4 (vaderSentiment). A regression.
# Usage: text.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_pypi_source vaderSentiment 3.3.2
[ -d text ] || unpacked text tar -xzf pypi/vaderSentiment/additional_resources/hutto_ICWSM_2014.tar.gz -C

# A table without a header, separated by tabs, whatever its name says. Columns: 0 a number, 1 the
# mean rating, 2 the sentence. Sentences are cut into 1,000 pieces learnt from them (BPE).
data=text/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt
reader=(--reader csv --set reader.header=false)
run=runs/text

metamae inspect $data "${reader[@]}" --field 2 --set unit=bpe --set max_symbols=1000
metamae pretrain $data "${reader[@]}" --out $run --field 2 --set unit=bpe --set max_symbols=1000 \
    --size tiny --steps 150 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label 1
