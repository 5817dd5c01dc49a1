#!/bin/sh
# The recipe of the default weights `small`, as far as it can be repeated. Needs DATA (see docs/training.md for the
# folders) and BIN (the venv's bin). About four and a quarter hours on two CPU cores with bfloat16 units; every run is
# resumed when the script is started again.
#
# The shipped restorer is the mean of two, from four runs of one line (model card): runs, rates, times and shares below
# are theirs. Settings in the code changed between those runs, and here all have those of today: the first two runs had
# an earlier predictor, the first one other losses and patches too, and A a stronger phone chain than B. The predictor
# of the shipped weights kept parts of a shallower one that was trained for 27 minutes before. So expect weights like
# the shipped ones, not the same.
set -eu
: "${DATA:?give the data folder: make train-small DATA=/path/to/data}"
BIN=${BIN:-.venv/bin}
OUT=${OUT:-runs/small}
PRECISION=${PRECISION:-bf16}
CAPTIONED=$DATA/captioned/flickr8k
STAGE_ONE=$OUT/stage_one

# train PART FOLDER TIME [OPTION ...]
train() {
  part=$1 folder=$2 budget=$3
  shift 3
  "$BIN/vlmir" train "$part" --out "$folder" --time-budget "$budget" --precision "$PRECISION" "$@"
}

# train_on_photos PART FOLDER TIME [OPTION ...]
train_on_photos() {
  train "$@" --data "$DATA/photos/objects" --data "$DATA/photos/wallpapers" --data "$DATA/photos/flowers" \
    --data "$DATA/photos/bsd400"
}

# train_restorer NAME TIME RATE [--start-from FOLDER]: beside a copy of stage one
train_restorer() {
  run=$OUT/$1 time=$2 rate=$3
  shift 3
  mkdir -p "$run"
  cp "$STAGE_ONE"/*.safetensors "$STAGE_ONE/vocabulary.json" "$STAGE_ONE/config.json" "$run/"
  train_on_photos restorer "$run" "$time" --learning-rate "$rate" --val-data "$DATA/val/kodak24" "$@"
}

train vlm "$STAGE_ONE" 21m --config small --data "$CAPTIONED" --held-out "$CAPTIONED/val.txt" --learning-rate 8e-4
train_on_photos predictor "$STAGE_ONE" 30m --caption-data "$CAPTIONED" --held-out "$CAPTIONED/val.txt" --pairs 1600 \
  --align-budget 80s

train_restorer first 68m 1e-3
train_restorer second 77m 3e-3 --start-from "$OUT/first"
train_restorer a 42m 2e-3 --start-from "$OUT/second"
"$BIN/vlmir" train average "$OUT/second" "$OUT/a" --share 0.35 --out "$OUT/between"
train_restorer b 8m 6e-4 --start-from "$OUT/between"
"$BIN/vlmir" train average "$OUT/a" "$OUT/b" --share 0.5 --out "$OUT/model"

echo "done: use it with --model $OUT/model, or copy its files to model/weights/small"
