#!/bin/sh
# The recipe of the default weights `small`. Needs DATA (see docs/training.md for the folders) and BIN (the venv's bin).
# About three hours on two CPU cores with bfloat16 units; every step is resumed when the script is started again. The shipped
# restorer took 145 minutes in two runs, the first with earlier settings (model card).
set -eu
: "${DATA:?give the data folder: make train-small DATA=/path/to/data}"
BIN=${BIN:-.venv/bin}
OUT=${OUT:-runs/small}
PRECISION=${PRECISION:-bf16}
CAPTIONED=$DATA/captioned/flickr8k
set -- --data "$DATA/photos/objects" --data "$DATA/photos/wallpapers" --data "$DATA/photos/flowers" --data "$DATA/photos/bsd400"

"$BIN/vlmir" train vlm --config small --data "$CAPTIONED" --held-out "$CAPTIONED/val.txt" --out "$OUT" \
  --time-budget 21m --learning-rate 8e-4 --precision "$PRECISION"
"$BIN/vlmir" train predictor "$@" --caption-data "$CAPTIONED" --held-out "$CAPTIONED/val.txt" --out "$OUT" \
  --pairs 1600 --align-budget 80s --time-budget 27m --precision "$PRECISION"
"$BIN/vlmir" train restorer "$@" --val-data "$DATA/val/kodak24" --out "$OUT" \
  --time-budget 2h --precision "$PRECISION"

echo "done: $OUT; use it with --model $OUT, or copy its files (without training/) to model/weights/small"
