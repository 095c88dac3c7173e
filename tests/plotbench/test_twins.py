import re
import unicodedata

import pytest

from memformer.data.packages import FetchError
from memformer.data.sources import SMOLLM2_FILE, smollm2
from memformer.interop.transformers import load_llama
from memformer.plotbench.make import make_base
from memformer.plotbench.names import CHARS_PER_TOKEN
from memformer.plotbench.story import FAMILIES, RETRIEVAL_FLOOR
from memformer.plotbench.twins import build

SPLITS = ("train", "dev", "test")


def made(seed, bucket=512, length=4096, split="dev", families=("all",)):
    return make_base(seed, bucket=bucket, length=length, families=families, split=split)


@pytest.mark.parametrize("split", SPLITS)
def test_twins_differ_in_the_swapped_words_and_nowhere_else(split):
    for seed in range(12):
        a, b = made(seed, split=split).stories
        assert len(a.text) == len(b.text) and a.swaps == b.swaps and a.twin_of == b.story_id
        end = 0
        for start, stop in a.swaps:
            assert a.text[end:start] == b.text[end:start]
            assert a.text[start:stop] != b.text[start:stop]
            word, *more = a.text[start:stop].split()
            assert more or re.fullmatch(r"[A-Za-z]+|\d\.\d\d", word)
            if len(more) > 1:  # two sentences, and what they say trades places
                both = [re.findall(r"\w+", each.text[start:stop]) for each in (a, b)]
                assert sorted(both[0]) == sorted(both[1]) and both[0] != both[1]
            end = stop
        assert a.text[end:] == b.text[end:]


def test_twins_hold_the_same_words_equally_often():
    for seed in range(12):
        a, b = made(seed).stories
        assert sorted(re.findall("[a-z]+", a.text.lower())) == sorted(
            re.findall("[a-z]+", b.text.lower())
        )


def is_block(span, story):
    """Whether a span lies in two sentences that trade places."""
    return any(
        start <= span[0] and span[1] <= stop and len(story.text[start:stop].split()) > 2
        for start, stop in story.swaps
    )


def order_of(words, story, first):
    """Of the words in a text; options may stand by chance in sentences that trade places."""
    found = [(m[0], m.span()) for m in re.finditer(r"\w+", story.text) if m[0] in words]
    names = any(word[0].isupper() for word in words)
    return [word for word, span in found if names or not is_block(span, first)]


def test_no_name_asked_about_and_no_option_changes_places():
    """But for the floors: so a rule that looks at their places alone chooses alike in both."""
    families = tuple(f for f in FAMILIES if f not in RETRIEVAL_FLOOR)
    n = 0
    for split in SPLITS:
        for seed in range(6):
            base = made(seed, split=split, families=families)
            words = [re.findall(r"\w+", story.text) for story in base.stories]
            for first, second in zip(base.probes, base.probes[1:], strict=False):
                if first.group_id != second.group_id or first.story_id != second.story_id:
                    continue
                stems = [re.findall(r"\w+", p.stem) for p in (first, second)]
                names = {w for pair in zip(*stems, strict=True) if pair[0] != pair[1] for w in pair}
                options = {option.strip() for option in first.options}
                assert len(names) == 2
                for words in (names, options):
                    orders = [order_of(words, story, base.stories[0]) for story in base.stories]
                    assert orders[0] == orders[1], (first.group_id, words)
                spans = [s.span for p in (first, second) for s in p.support]
                text = base.stories["AB".index(first.cell[0])].text
                shown = [text[slice(*span)] for span in spans if is_block(span, base.stories[0])]
                assert not any(options & set(re.findall(r"\w+", each)) for each in shown)
                n += 1
    assert n > 150


def test_text_is_normal_and_chapters_cover_it():
    for seed in range(5):
        for story in made(seed).stories:
            assert unicodedata.normalize("NFC", story.text) == story.text
            assert not re.search(r"[{}\[\]|]|  |\n\n\n", story.text)
            assert story.chapters[0].span[0] == 0 and story.chapters[-1].span[1] == len(story.text)
            for left, right in zip(story.chapters, story.chapters[1:], strict=False):
                assert left.span[1] == right.span[0] and right.i == left.i + 1


def test_last_pages_are_the_same_at_every_distance():
    texts = [made(4, bucket, 16_384).stories[0].text for bucket in (2048, 4096, 8192)]
    tails = {text[-int(2048 * CHARS_PER_TOKEN) :] for text in texts}
    assert len(tails) == 1
    near = made(4, 512, 16_384).stories[0].text
    assert near[-int(512 * CHARS_PER_TOKEN) :] == texts[0][-int(512 * CHARS_PER_TOKEN) :]


@pytest.mark.parametrize("length", [1024, 4096, 16_384])
def test_length_is_met_within_a_paragraph_or_two(length):
    for seed in range(6):
        n = len(made(seed, 128, length).stories[0].text)
        assert 3.7 * length < n < 3.8 * length + 900


def test_trace_mentions_lie_in_the_text_and_threads_in_the_story():
    base = made(2, 2048, 16_384)
    for story, trace in zip(base.stories, base.traces, strict=True):
        ids = {f.id for f in trace.facts} | {k.id for k in trace.knowledge}
        ids |= {t.id for t in trace.threads}
        assert len(ids) == len(trace.facts) + len(trace.knowledge) + len(trace.threads)
        for mention in trace.mentions:
            assert mention.fact in ids
            assert story.text[slice(*mention.span)][0] in '"' + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        for thread in trace.threads:
            assert 0 < thread.open_u < 1
            assert thread.close_u is None or thread.open_u < thread.close_u < 1


def test_too_great_a_distance_names_the_way_out():
    with pytest.raises(ValueError, match="bucket=2048 .* length of at least 4096"):
        build(0, bucket=2048, length=2048, families=("life",), split="dev")


@pytest.mark.real
@pytest.mark.slow
def test_twins_align_token_by_token_in_smollm2():
    try:
        folder = smollm2()
    except FetchError as error:
        pytest.skip(str(error))
    _, tokenizer = load_llama(folder / SMOLLM2_FILE)
    n_checked = 0
    for split in SPLITS:
        for seed in range(8):
            a, b = made(seed, 2048, 4096, split=split).stories
            spans = [tokenizer.encode(story.text).ids for story in (a, b)]
            assert len(spans[0]) == len(spans[1])
            n_checked += 1
    assert n_checked == 24
