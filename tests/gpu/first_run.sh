#!/usr/bin/env bash
# The first run on a machine with an NVIDIA GPU, in under 8 minutes: the tests that need it, an example of each family, and training
# steps beside PyTorch where that is installed. Every step has its own time limit and its own file in $OUT; one that fails does
# not stop the others.
#
#     pip install ".[gpu,test]" && OUT=first-run tests/gpu/first_run.sh
#     tests/gpu/first_run.sh --pretend      # a rehearsal with the simulated GPU
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-first-run}
mkdir -p "$out"
run=(python)
[ "${1-}" = --pretend ] && run=(python -m tests.gpu.pretend)
failed=0

step() { # name, seconds, command ...
    local name=$1 limit=$2 start=$SECONDS code=0
    shift 2
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    [ "$code" = 0 ] || failed=$((failed + 1))
    printf '%-20s exit %3d  %4d s\n' "$name" "$code" $((SECONDS - start)) | tee -a "$out/summary.txt"
}

step info 30 "${run[@]}" -m tinyae info
step tests 150 "${run[@]}" -m pytest -m gpu -q -p no:cacheprovider
for example in 02_basic 04_sparse 08_stacked 10_variational 11_convolutional 13_lstm; do
    step "$example" 40 "${run[@]}" examples/${example}_autoencoder.py --device gpu --epochs 1 --out "$out/$example"
done
libraries=(tinyae)
python -c "import torch; assert torch.cuda.is_available()" 2>/dev/null && libraries+=(PyTorch)
for workload in W1 W2 W3 W4 W5 W6 W7 W8; do
    for library in "${libraries[@]}"; do # milliseconds in the file; every step ends by reading the loss, which waits for the GPU
        step "$workload-$library" 25 "${run[@]}" -m tests.benchmarks.training_step --device gpu --seconds 1 --alone "$workload" "$library"
    done
done
exit "$((failed > 0))"
