"""Tuning the decoder of a run on novels of one's own: data, loop, and what is published.

OUT/tune.json         config and what it was made with
OUT/metrics.csv       a row an update;  OUT/gold.csv  a row a look at gold
OUT/checkpoint/       to go on from
OUT/model/            decoder and tokenizer, as a training run leaves them
OUT/result.json       why it stopped, what is kept, the audit before and after
"""

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from memformer.config.reward_training import TuneConfig
from memformer.data.lanes import Segment
from memformer.data.tokenizer import Tokenizer
from memformer.evaluation.store import write_json
from memformer.model.decoder import Decoder
from memformer.model.saved_model import save_model
from memformer.reward.audit import Audit, audit
from memformer.training.branches import Reward, write_branches
from memformer.training.reward import Gold, Tuned, TuneData, tune
from memformer.training.reward_losses import draw_seed

_PASSAGES = 1 << 31  # beyond the seeds of all updates' prompts


class TuneRun(NamedTuple):
    """A tuning, and how its texts changed."""

    tuned: Tuned
    before: Audit
    """Of continuations of held-out prompts, by the decoder as it was."""
    after: Audit


def tune_run(
    decoder: Decoder,
    tokenizer: Tokenizer,
    texts: Sequence[Sequence[int]],
    held: Sequence[Sequence[int]],
    reward: Reward,
    config: TuneConfig,
    out: Path,
    *,
    n_prompt_token: int,
    n_held: int = 32,
    gold: Gold | None = None,
    marks: Mapping[str, Any] | None = None,
    judges: str = "",
    told: Callable[[str], None] = lambda line: None,
) -> TuneRun:
    """Tune a decoder on passages of novels, and write the result as a run.

    Prompts and predictive passages are drawn from `texts` at places that seed and update decide,
    held-out prompts from `held`; all are read from a fresh state, as the beginning of a text.

    Args:
        decoder: of a run; its weights are changed.
        tokenizer: the decoder's.
        texts: ids of the novels trained on.
        held: ids of other novels.
        reward, config, gold, told: as in `tune`.
        out: new, or a tuning to go on with.
        n_prompt_token: tokens of a prompt.
        n_held: held-out prompts.
        marks: what else result.json shall say, such as `GatePass.marks`.
        judges: names reward and gold: a tuning that was begun with others is not gone on with.

    Raises:
        ValueError: no text is long enough; a held-out text is trained on; as `tune`.
    """
    n_passage = n_prompt_token + config.n_new
    train = _long_enough("texts", texts, n_passage + 1)
    test = _long_enough("held", held, n_prompt_token)
    if n_shared := len({_digest(ids) for ids in texts} & {_digest(ids) for ids in held}):
        raise ValueError(
            f"held must hold no text that is trained on, got {n_shared}: early stopping and audit "
            "would look at what was learned"
        )

    def passages(n: int) -> list[Segment]:
        seed = draw_seed(config, n) + _PASSAGES
        return [_segment(_draw(train, config.n_prompt, n_passage + 1, seed))]

    data = TuneData(
        prompts=lambda n: _draw(train, config.n_prompt, n_prompt_token, draw_seed(config, n)),
        passages=passages,
        held=_draw(test, n_held, n_prompt_token, config.seed),
    )
    reference = copy.deepcopy(decoder)
    before = _audited(decoder, tokenizer, data, config)
    read = [n_prompt_token, n_held, judges, *map(_digest, texts), "held", *map(_digest, held)]
    done = tune(
        decoder, reference, data, reward, config, gold=gold, out=out, told=told,
        inputs=hashlib.sha256(repr(read).encode()).hexdigest(),
    )  # fmt: skip
    after = _audited(decoder, tokenizer, data, config)
    save_model(decoder, out / "model")
    tokenizer.save_in(out / "model")
    write_json(
        out / "result.json",
        {
            "reason": done.reason, "kept": done.best, "updates": len(done.rows),
            "spent": done.spent, "looks": [each._asdict() for each in done.looks],
            **(marks or {}), "audit": {"before": before._asdict(), "after": after._asdict()},
        },
    )  # fmt: skip
    return TuneRun(done, before, after)


def _audited(decoder: Decoder, tokenizer: Tokenizer, data: TuneData, config: TuneConfig) -> Audit:
    """Names are not known in texts of one's own: capitalised words stand for them."""
    decoder.eval()
    wrote = write_branches(
        decoder, data.held, 1, config.n_new, sampling=config.sampling, length=config.length,
        end=config.end,
    )  # fmt: skip
    pieces = [tokenizer.decode([i]).strip() for i in range(tokenizer.vocab_size)]
    names = {i for i, piece in enumerate(pieces) if piece[:1].isupper()}
    stop = next((i for i, piece in enumerate(pieces) if piece == "."), -1)
    return audit(wrote.new.tolist(), names=names, stop=stop, end=config.end)


def _long_enough(name: str, texts: Sequence[Sequence[int]], n: int) -> list[Tensor]:
    kept = [torch.tensor(ids) for ids in texts if len(ids) >= n]
    if not kept:
        longest = max((len(ids) for ids in texts), default=0)
        raise ValueError(
            f"{name} must hold a text of at least {n} tokens (prompt and continuation), the "
            f"longest has {longest}: lower n_new or the prompt"
        )
    return kept


def _digest(ids: Sequence[int]) -> str:
    return hashlib.sha256(np.asarray(ids, np.int64).tobytes()).hexdigest()


def _draw(texts: list[Tensor], n: int, length: int, seed: int) -> Tensor:
    """(n, length): passages from anywhere, each text as likely as it is long."""
    generator = torch.Generator().manual_seed(seed % (1 << 63))
    room = torch.tensor([len(ids) - length + 1 for ids in texts])
    which = room.double().multinomial(n, replacement=True, generator=generator)
    at = (torch.rand(n, generator=generator) * room[which]).long()
    return torch.stack(
        [texts[i][j : j + length] for i, j in zip(which.tolist(), at.tolist(), strict=True)]
    )


def _segment(rows: Tensor) -> Segment:
    tokens = rows[:, :-1]
    mask = torch.ones_like(tokens, dtype=torch.bool)
    unknown = torch.full(tokens.shape, torch.nan)
    return Segment(tokens, rows[:, 1:], mask, mask.float(), unknown, [], [])
