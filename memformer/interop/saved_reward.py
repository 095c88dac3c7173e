"""The reward of a tuning, and its gold, from folders of reviewers and raters."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from memformer.config.chain import ChainConfig
from memformer.data.tokenizer import Tokenizer
from memformer.interop.saved_chain import load_chain
from memformer.model.saved_state import weights_hash
from memformer.reward.chain_reward import ChainReward
from memformer.reward.critic import Critic
from memformer.reward.gain import gate
from memformer.reward.rater_run import refuse_same_raters
from memformer.reward.saved_reviewer import load_reviewer
from memformer.training.branches import Reward
from memformer.training.review_run import REVIEWER, read_gain, refuse_shared_gold


class SavedReward(NamedTuple):
    """A reward, and what a result keeps of where it came from."""

    reward: Reward
    marks: dict[str, Any]
    record: dict[str, Any] | None
    """Of the raters; None where the reviewer's head judges."""
    digest: str
    """Of the reviewer's weights, and of what its raters were fitted to."""

    def told(self) -> str:
        """How many reviews a chain wrote so far and left out; empty where a head judges."""
        if not isinstance(self.reward, ChainReward):
            return ""
        return f"{self.reward.n_left_out} of {self.reward.n_drawn} reviews left out"


def load_rewards(
    reward: tuple[Path, Path | None],
    gold: tuple[Path | None, Path | None],
    tokenizer: Tokenizer,
    n_review: int,
    *,
    ungated: bool = False,
    max_unscorable: float = 0.2,
) -> tuple[SavedReward, SavedReward | None]:
    """What a generator is trained on, and what early stopping looks at.

    Args:
        reward: folder of the reviewer, and of the raters that judge its reviews; None: its own
            score head judges.
        gold: likewise; no reviewer, no gold.
        tokenizer: the generator's, and the reviewers'.
        n_review: reviews written of each text.
        ungated: also with a reviewer whose gain is not above 0; marks say so.
        max_unscorable: share of reviews without a score that a chain goes on with.

    Raises:
        ValueError: a reviewer without head or raters; a gold reviewer that is the reward's, or
            learned from its novels or authors; gold raters without one, or who are the reward's.
        GateClosed: a reviewer that was not shown to say anything of a novel.
    """
    chain = ChainConfig(max_unscorable=max_unscorable)
    judge = _load(*reward, tokenizer, n_review, ungated, chain)
    if gold[0] is None:
        if gold[1] is not None:
            raise ValueError("gold raters need a gold reviewer, whose reviews they judge")
        return judge, None
    refuse_shared_gold(reward[0], gold[0])
    found = _load(gold[0], gold[1], tokenizer, n_review, ungated, chain)
    if judge.record is not None and found.record is not None:
        refuse_same_raters(judge.record, found.record)
    return judge, found


def _load(
    reviewer: Path, raters: Path | None, tokenizer: Tokenizer, n_review: int, ungated: bool,
    config: ChainConfig,
) -> SavedReward:  # fmt: skip
    if raters is not None:
        chain = load_chain(reviewer, raters, tokenizer=tokenizer, ungated=ungated, config=config)
        scored = ChainReward(chain.gated.chain, chain.reviewer, n_review)
        fitted = json.dumps(chain.record["asked"], sort_keys=True)
        digest = f"{weights_hash(chain.reviewer.model)} {fitted}"
        return SavedReward(scored, chain.marks, chain.record, digest)
    loaded = load_reviewer(reviewer / REVIEWER, tokenizer)
    if loaded.head is None:
        raise ValueError(
            f"{reviewer}: the reviewer has no score head: train it with --values, or give raters "
            "who judge its reviews"
        )
    weights = weights_hash(loaded.reviewer.model)
    leave = gate(read_gain(reviewer), ungated=ungated, weights=weights)
    critic = Critic(loaded.reviewer, loaded.head, n_review)
    return SavedReward(critic, leave.marks(), None, weights)
