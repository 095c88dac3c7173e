"""Does a small decoder, from scratch on the training novels, use a memory, and what is it worth?

2.0 million weights, 4 layers, window 128, bfloat16, a memory of 32 pairs in layer 2 (counted from
0). The tokenizer is trained on the training part of classics-1; Huxley and Wells are held out.

Expect: with so small a budget memory may bring nothing on novels (a prototype gained nothing in
        600 steps without convolution); the best peer gains 6 % in perplexity at full scale.
Run:    memformer train experiments/novels.py --out runs/novels-0 --seed 0
Result: experiments/README.md
"""

from memformer.config import (
    DecoderConfig,
    FractionConfig,
    MemoryConfig,
    OptimiserConfig,
    RunConfig,
    StageConfig,
)

BASE = RunConfig(
    model=DecoderConfig(
        vocab_size=2048,
        n_layer=4,
        n_head=6,
        n_kv_head=2,
        n_embd=192,
        head_dim=32,
        mlp_dim=512,
        window=128,
        segment_len=128,
        memory=MemoryConfig(layers=(2,), n_retrieved=32),
        fraction=FractionConfig(kind="fourier", p_unknown=0.1),
    ),
    optimiser=OptimiserConfig(learning_rate=2e-3, gate_learning_rate=5e-3, warmup_steps=50),
    novels=StageConfig(n_token=2_000_000, corpora=("classics",), length_power=0.5),
    n_lane=16,
    precision="bfloat16",
    validate_every=250,
    checkpoint_every=250,
)
