"""The texts that a run names, read and checked; nothing here needs Lightning."""

from memformer.config import RunConfig
from memformer.data.corpora import check_apart, texts_named
from memformer.data.manuscripts import Manuscript


def read_stages(config: RunConfig) -> tuple[list[list[list[Manuscript]]], list[Manuscript]]:
    """Training texts by stage (general, novels) and corpus, and held-out ones.

    Raises:
        ValueError, FileNotFoundError, FetchError: as `texts_named`; a work, or with
            `split_by="author"` an author, that is in both parts.
    """
    stages = [
        [list(texts_named(name, "train")) for name in stage.corpora] if stage.n_token else []
        for stage in (config.general, config.novels)
    ]
    held_out = [book for name in config.validation for book in texts_named(name, "validation")]
    every = [book for stage in stages for texts in stage for book in texts]
    check_apart(every, held_out, config.split_by)
    return stages, held_out
