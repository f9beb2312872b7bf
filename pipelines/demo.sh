#!/usr/bin/env bash
# The whole of DeepSeekMath on a laptop: web pages -> mined corpus -> base model -> SFT -> GRPO -> held-out problems.
# About 8 minutes on 2 cores, 1.5 GB of memory, no network. Writes data/toy, runs/demo and models/demo; run it again
# and it goes on where it stopped. Start anew with: rm -r data/toy runs/demo models/demo
#
#   make demo        sets up the environment first, then runs this
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
# glibc hands every large tensor back to the system and asks for it again: a fifth of the training time
export MALLOC_MMAP_THRESHOLD_=268435456 MALLOC_TRIM_THRESHOLD_=1073741824
web=data/toy run=runs/demo models=models/demo
begun=$SECONDS
mkdir -p "$models"
say() { printf '\n== %s (%d s so far)\n' "$1" $((SECONDS - begun)); }

say "1. a mini web of 3,000 pages, 29% of them mathematics, as WARC with exact truth"
if [ ! -f "$web/complete" ]; then
  python pipelines/toy_web.py --out "$web"
  touch "$web/complete"
fi

say "2. recall rounds: seed -> classifier -> domains -> URL prefixes -> better seed"
spark-submit pipelines/mine.py --config configs/mine/demo.yaml --data_dir "$web" --run_dir "$run" \
  2> >(grep -v -E 'WARN|INFO|log4j|incubator|Setting Spark log level' >&2)
motherlode rounds "$run" --labels "$web/web/truth.jsonl"
motherlode domains "$run" --limit 12
motherlode evaluate "$run" --labels "$web/web/truth.jsonl" --json > "$run/evaluation.json"
motherlode report "$run" --labels "$web/web/truth.jsonl"

say "3. two base models, one on the mined corpus, one on as many tokens of unmined pages, side by side"
[ -d "$models/tokenizer" ] ||
  python rl/train_tokenizer.py --corpora "$run/pages" --vocab_size 2048 --out_dir "$models/tokenizer"
base() {
  python rl/train_cpt.py --config configs/rl/cpt.yaml --tokenizer "$models/tokenizer" --corpora "$1" --out_dir "$2"
}
base "$run/corpus" "$models/base-mined" & mined=$!
base "$run/pages" "$models/base-unmined" > "$models/base-unmined.log" 2>&1 & unmined=$!
wait $mined
wait $unmined || { cat "$models/base-unmined.log"; exit 1; }

say "4. supervised fine-tuning on 2,000 worked problems"
python rl/train_sft.py --config configs/rl/sft.yaml --model "$models/base-mined/model" --data "$web/problems/sft.jsonl" \
  --out_dir "$models/sft"

say "5. GRPO on 4,000 problems without solutions"
python rl/train_grpo.py --config configs/rl/grpo.yaml --model "$models/sft/model" --problems "$web/problems/rl.jsonl" \
  --out_dir "$models/grpo"

say "6. 800 held-out problems"
python rl/run_eval.py --config configs/rl/eval.yaml --benchmarks "$web/problems/eval.jsonl" --out "$models/eval.json" \
  --model "base-unmined=$models/base-unmined/model,base-mined=$models/base-mined/model,sft=$models/sft/model,grpo=$models/grpo/model" \
  > "$models/eval.log" 2>&1 || { cat "$models/eval.log"; exit 1; }
python pipelines/demo_table.py --evaluation "$run/evaluation.json" --models "$models/eval.json"

say "done"
echo "report:  $run/report.html"
echo "corpus:  $run/corpus (its card: $run/corpus/README.md)"
echo "models:  $models/{base-mined,base-unmined,sft,grpo}/model"
