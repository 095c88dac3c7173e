"""What does a pretrained decoder gain from a few hundred steps on novels with a memory and the
fraction of the novel?

SmolLM2-135M-Instruct (4-bit weights, unpacked), window 256, 4 sinks, 32 pairs retrieved in every
fourth layer at true distances clamped to 6,000, the fraction by a Fourier map that starts at 0.
Trained are changes of rank 16 of the attention's matrices and the fraction's map (1.9 million
numbers), on the training part of classics-1; Huxley and Wells are held out. The memory of a lane
holds 16,384 pairs.

Expect: a few hundredths of a nat by adapting to the prose, most of it with the memory off as well;
        nothing from the fraction, which 300 steps can hardly teach.
Run:    memformer train experiments/fine_tune.py --out runs/fine-tune
        python experiments/fine_tune.py runs/before --tokens 4096      # read before training
        memformer evaluate runs/fine-tune TEXTS --book huxley-crome --book wells-moreau \
            --tokens 4096 --controls --out runs/fine-tune/read
Result: experiments/README.md
"""

import argparse
from pathlib import Path

from memformer.process import tune_process

tune_process()

from memformer.config import (
    DecoderConfig,
    FractionConfig,
    LowRankConfig,
    MemoryConfig,
    OptimiserConfig,
    RunConfig,
    StageConfig,
)

BASE = RunConfig(
    start="smollm2",
    model=DecoderConfig(
        vocab_size=49_152,
        n_layer=30,
        n_head=9,
        n_kv_head=3,
        n_embd=576,
        head_dim=64,
        mlp_dim=1536,
        conv_width=0,
        qk_norm=False,
        rope_base=100_000.0,
        norm_eps=9.999999747378752e-06,  # 1e-5 in the file's float32
        window=256,
        segment_len=256,
        n_sink=4,
        sink_distance=6000,
        memory=MemoryConfig(
            layers=(3, 7, 11, 15, 19, 23, 27),
            n_retrieved=32,
            positions="rotary",
            max_distance=6000,
            capacity=16_384,
        ),
        fraction=FractionConfig(kind="fourier", p_unknown=0.1),
    ),
    low_rank=LowRankConfig(rank=16),
    optimiser=OptimiserConfig(learning_rate=5e-4, warmup_steps=20, weight_decay=0.0),
    novels=StageConfig(n_token=300 * 512, corpora=("classics",), length_power=1.0),
    n_lane=2,
    precision="bfloat16",
    watch_every=25,
    validate_every=150,
    validation_tokens=2048,
    checkpoint_every=100,
)


def main() -> None:
    """Read the held-out novels before training, as `memformer evaluate` does after it."""
    from memformer.data import classics
    from memformer.evaluation.arms import trained_arms
    from memformer.evaluation.encoded import pick
    from memformer.evaluation.progress import reading_bars
    from memformer.evaluation.run import evaluate
    from memformer.interop.run import start_of

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", type=int, default=4096)
    args = parser.parse_args()
    start = start_of(BASE)
    assert start is not None
    books = pick(classics(), ("huxley-crome", "wells-moreau"))
    arms = [arm for arm in trained_arms(BASE.model, controls=True) if arm.fraction == "true"]
    with reading_bars() as bars:
        evaluate(*start, books, arms, args.out, n_tokens=args.tokens, progress=bars)


if __name__ == "__main__":
    main()
