#!/usr/bin/env bash
# Sound: telephone prompts in five languages, each spoken by one person (Asterisk).
# Usage: audio.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_debian asterisk-core-sounds-{en,es,fr,it,ru}-wav

# One folder per language is all that labels need. Links, so that nothing is copied; the files of
# silence are the same in all languages.
rm -rf languages
for language in en es fr it ru; do
    mkdir -p languages/$language
    for folder in digits letters phonetic; do
        ln -s "$PWD"/debian/asterisk-core-sounds-$language-wav/usr/share/asterisk/sounds/*/$folder \
            languages/$language/$folder
    done
done
data=languages
run=runs/audio

# Sound becomes a log-mel spectrogram; its settings are kept in the run.
metamae inspect $data --label label
metamae pretrain $data --out $run --size tiny --steps 300 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label label
