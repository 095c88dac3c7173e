"""A chain from two folders: a reviewer's and its raters'."""

from pathlib import Path
from typing import Any, NamedTuple

from memformer.config.chain import ChainConfig
from memformer.data.tokenizer import Tokenizer
from memformer.interop.run import load_tokenizer
from memformer.interop.text_features import build_text_features
from memformer.model.saved_state import weights_hash
from memformer.reward.chain_reward import TextAgain
from memformer.reward.gated_chain import GatedChain, open_chain
from memformer.reward.interfaces import ReviewFeatures
from memformer.reward.rater_run import load_raters
from memformer.reward.review_features import DecoderFeatures
from memformer.reward.reviewer import Reviewer
from memformer.reward.saved_reviewer import load_reviewer
from memformer.training.review_run import REVIEWER, is_reviewer, read_gain


class LoadedChain(NamedTuple):
    """A chain, its reviewer, and where its raters come from."""

    gated: GatedChain
    reviewer: Reviewer
    tokenizer: Tokenizer
    record: dict[str, Any]
    """Of the raters' folder."""

    @property
    def marks(self) -> dict[str, Any]:
        """What belongs into every result."""
        return self.gated.leave.marks() | {"unreported": self.record["unreported"]}


def load_chain(
    reviewer: Path,
    raters: Path,
    *,
    tokenizer: Tokenizer | None = None,
    ungated: bool = False,
    config: ChainConfig | None = None,
) -> LoadedChain:
    """The chain over a folder of `reward review` and one of `reward raters`.

    Raters that were fitted to the reviewer's own features read its reviews as tokens, and relaxed
    ones too; so do those of another reviewer with the same vocabulary. All others read the text.

    Args:
        reviewer, raters: the folders.
        tokenizer: that the novels are encoded with; None leaves it unchecked.
        ungated: also if the reviewer's gain is not above 0; marks say so.
        config: of the chain.

    Raises:
        ValueError: a folder holds nothing of the kind; the model that made the raters' features has
            other weights than then, or is not there any more.
        GateClosed: as `open_chain`.
    """
    if not is_reviewer(reviewer):
        raise ValueError(f"{reviewer} holds no reviewer: train one with `memformer reward review`")
    own = load_tokenizer(reviewer / REVIEWER)
    loaded = load_reviewer(reviewer / REVIEWER, own if tokenizer is None else tokenizer).reviewer
    loaded.model.requires_grad_(False)
    model, record = load_raters(raters)
    features = _features(record["asked"]["features"], loaded, own)
    gated = open_chain(
        loaded, features, model, read_gain(reviewer), ungated=ungated,
        aggregate=None, config=config,
    )  # fmt: skip
    return LoadedChain(gated, loaded, own, record)


def _features(made: dict[str, str], reviewer: Reviewer, tokenizer: Tokenizer) -> ReviewFeatures:
    if made["digest"] == weights_hash(reviewer.model):
        return DecoderFeatures(reviewer.model, start=reviewer.vocabulary.review)
    features = build_text_features(made["source"])
    if features.digest != made["digest"]:
        raise ValueError(
            f"{made['source']} has other weights than when the raters were fitted to its features: "
            "fit them again with `memformer reward raters`"
        )
    if features.of_reviews is not None and features.vocabulary == reviewer.vocabulary:
        return features.of_reviews
    return TextAgain(tokenizer.decode, features)
