#!/usr/bin/env bash
# DNA: 826 genes that make bacteria resist drugs, a FASTA file per class of drugs (ResFinder).
# Usage: dna.sh [WORK_FOLDER]
source "$(dirname "${BASH_SOURCE[0]}")/get.sh"

from_debian resfinder-db

# Links with an ending that is known. The field "file" says which of them a gene comes from. The
# classes with at least 100 genes, but for the one that outweighs all others together.
mkdir -p dna
for drug in aminoglycoside macrolide quinolone tetracycline trimethoprim; do
    ln -sf "$PWD/debian/resfinder-db/usr/share/resfinder/db/$drug.fsa" dna/$drug.fasta
done
data=dna
run=runs/dna

# Tokens are codons: three letters each, side by side. Training sees pieces of 128 of them; the
# embedding of a gene is the mean over its pieces.
kmers=(--set unit=kmer --set k=3 --set max_length=128)
metamae inspect $data --label file "${kmers[@]}"
metamae pretrain $data --out $run "${kmers[@]}" --size tiny --steps 200 --seed 0 --overwrite
metamae embed $run $data --out $run.parquet --overwrite
metamae evaluate $run $data --label file
