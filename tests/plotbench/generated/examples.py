"""A small benchmark, texts that go on with it, and an extractor that is half right."""

from memformer.config.plotbench import MakeConfig
from memformer.plotbench.generated.extraction import Found, Planted, accuracy_of, reach_of
from memformer.plotbench.generated.report import Validity
from memformer.plotbench.generated.texts import Written, cut_at, sha256
from memformer.plotbench.make import make

BENCH = make(MakeConfig(seeds=(0, 2), buckets=(128,), lengths=(1024,), families=("all",)))
STORY = BENCH.stories[0]
ROWS = [Found(seed, "eyes", gold, found) for seed in range(12) for gold, found in
        ((True, True), (True, False), (False, True))]  # fmt: skip
PUT_IN = [Planted(seed, "retold", wrong, True, flagged) for seed in range(12) for wrong, flagged in
          ((True, True), (True, seed > 2), (False, False))]  # fmt: skip
NOT_READ = Validity(reach_of(ROWS), accuracy_of(PUT_IN))


def text_of(story, text, place=0.75):
    return Written(
        story_id=story.story_id, story_sha256=story.sha256, seed=story.seed, model="m",
        condition="on", fraction="true", place=place, cut=cut_at(story, place), i_text=0,
        n_words=len(text.split()), text=text, text_sha256=sha256(text), bench_version="0",
        bench_sha256=BENCH.manifest["content_sha256"], config_sha256="",
    )  # fmt: skip
