import importlib
import pkgutil
import random
import re
from collections import Counter

import pytest

from memformer.plotbench import frames
from memformer.plotbench.beats import Draw, of_two_lines
from memformer.plotbench.frames import (
    alias,
    arc,
    both,
    chain,
    hearsay,
    kin,
    know,
    latent,
    life,
    order,
    payoff,
    state,
    status,
    update,
)  # fmt: skip
from memformer.plotbench.frames.by_names import BY_NAMES
from memformer.plotbench.make import make_base
from memformer.plotbench.names import NAMES, VALUES, draw_cast, draw_values, of_split
from memformer.plotbench.planner import MOST
from memformer.plotbench.prose import Deck, Passage, expand, join, person_slots, render
from memformer.plotbench.story import FAMILIES

SPLITS = ("train", "dev", "test")


def flat(*lists):
    return [frame for each in lists for frame in each]


def nested(table):
    return [frame for each in table.values() for frame in each]


VERDICTS = [frame for both_ways in hearsay.VERDICTS for frame in both_ways]
TOLD = {
    "attr.static": nested(state.STATE),
    "attr.update": [*nested(update.BEFORE), *nested(update.CHANGES)],
    "attr.alias": list(alias.LINKS),
    "attr.hearsay": flat(hearsay.FRAMES, VERDICTS),
    "attr.latent": [frame for table in latent.SHOWN.values() for frame in nested(table)],
    "poss.chain": flat(chain.ORIGINS, chain.HANDOVERS),
    "life": flat(life.ILLNESS, *life.ENDINGS, life.CASUAL),
    "know.secret": flat(know.HIDDEN, *know.PARTINGS, know.MOVES),
    "thread.payoff": list(payoff.PROMISES),
    "thread.status": flat(status.LOANS, status.REPAID, status.UNPAID, status.CASUAL),
    "kin.hop": flat(kin.PARENTS, kin.SIBLINGS, kin.TRADES, state.CASUAL["trade"]),
    "time.order": [*order.LEAVINGS, *(s for _, s in order.ANCHORS), *order.CASUAL],
    "arc.position": [*(s for each in arc.ARCS for s in each.early + each.late), *arc.PASSING],
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_forty_frames(family):
    assert len(set(TOLD[family])) >= 40


def test_splits_share_no_name_and_no_frame():
    names = {
        split: {n for classes in NAMES[split].values() for each in classes for n in each.split()}
        for split in SPLITS
    }
    assert sum(map(len, names.values())) == len(set.union(*names.values()))
    for told in TOLD.values():
        parts = [set(of_split(tuple(dict.fromkeys(told)), split)) for split in SPLITS]
        assert sum(map(len, parts)) == len(set.union(*parts)) and all(parts)


def test_splits_share_no_sentence():
    """In what is made, with names and values taken out."""
    values = {v for each in VALUES.values() for group in each for v in group.split()}
    seen: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        for seed in range(6):
            base = make_base(seed, bucket=2048, length=8192, families=("all",), split=split)
            for sentence in re.split(r"(?<=[.!?])\s+|\n+", base.stories[0].text):
                words = re.findall(r"[A-Za-z']+", sentence)
                kept = [w for w in words if w[0].islower() and w not in values]
                if len(kept) >= 5:
                    seen[split].add(" ".join(kept))
    assert min(map(len, seen.values())) > 300
    for a, b in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not seen[a] & seen[b]


def test_name_and_value_stand_in_one_sentence_where_retrieval_is_to_be_enough():
    for table, who in ((state.STATE, "who"), (update.CHANGES, "x"), (update.BEFORE, "x")):
        for frame in nested(table):
            text = frame.replace("{" + who, "{X").replace("{v", "{V")
            sentences = re.split(r'(?<=[.!?])"?\s+|(?<=[.!?])" ', text)
            assert any("{X" in s and "{V" in s for s in sentences), frame


def test_names_and_values_stand_once_in_what_is_swapped():
    """So that no twin names anybody, or anything, more often than the other does."""
    once = {
        "who": nested(state.STATE),
        "x": [
            *VERDICTS,
            *nested(update.BEFORE),
            *nested(update.CHANGES),
            *state.CLAUSE.values(),
        ],
        "v": [*nested(state.STATE), *nested(update.BEFORE), *nested(update.CHANGES)]
        + [*kin.TRADES, *know.MOVES, *know.HIDDEN, *order.LEAVINGS],
        "p": flat(
            alias.LINKS,
            VERDICTS,
            hearsay.FRAMES,
            [left for left, _ in know.PARTINGS],
            [died for died, _ in life.ENDINGS],
            payoff.PROMISES,
            status.REPAID,
        )
        + [*kin.PARENTS, *order.LEAVINGS, *TOLD["attr.latent"]]
        + [s for each in arc.ARCS for s in each.late],
        "q": flat(VERDICTS, status.UNPAID)
        + [said for _, said in know.PARTINGS + life.ENDINGS]
        + [s for each in arc.ARCS for s in each.early],
        "m": flat(kin.PARENTS, kin.SIBLINGS),
        "u": flat(kin.SIBLINGS),
        "alias": list(alias.LINKS),
        "r": list(chain.HANDOVERS),
        "o": list(chain.ORIGINS),
    }
    for slot, told in once.items():
        for frame in told:
            assert len(re.findall(rf"\{{{slot}\^?\}}", frame)) == 1, (slot, frame)


def test_no_place_of_a_name_in_a_verdict_tells_who_was_right():
    assert len(hearsay.VERDICTS) == 18
    for both_ways in hearsay.VERDICTS:
        orders = []
        for frame in both_ways:
            places = {slot: re.search(rf"\{{{slot}\^?\}}", frame).start() for slot in "pqx"}
            orders.append("".join(sorted("pqx", key=places.get)))
        assert orders[0].index("p") < orders[0].index("q"), both_ways
        assert orders[1] == orders[0].translate(str.maketrans("pq", "qp")), both_ways


def build(frame):
    """Words, where among them and among the letters the name stands, length, letters and stops."""
    told = re.sub(r"\{[pq]\}", "NAME", re.sub(r"\{[pq]\.(\w+)\}", r"\1", frame))
    words = re.findall(r"\w+", told)
    at = words.index("NAME"), told.index("NAME")
    return len(words), *at, len(told), len("".join(words)), re.sub(r"[\w ]", "", told)


@pytest.mark.parametrize("lines", [know.PARTINGS, life.ENDINGS])
def test_two_sentences_of_a_line_are_built_alike_to_the_letter(lines):
    assert len(lines) == 24 and len({said for line in lines for said in line}) == 48
    for one, other in lines:
        assert build(one) == build(other), (one, other)
        assert "|" not in one + other  # nothing is drawn that could make one longer
    for split in SPLITS:
        lengths = [build(one)[3] for one, _ in of_split(lines, split)]
        assert min(lengths) < 30 and max(lengths) > 100 and len(set(lengths)) >= 7
        places = {build(one)[1] / build(one)[0] for one, _ in of_split(lines, split)}
        assert min(places) == 0 and max(places) > 0.8


@pytest.mark.parametrize("lines", [know.PARTINGS, life.ENDINGS])
def test_what_is_said_of_two_names_no_value_of_any_family(lines):
    """It would stand beside the name, for what looks for name and value together to find."""
    values = {v for classes in VALUES.values() for each in classes for v in each.split()}
    for split in SPLITS:
        things = {v for each in payoff.NEED_CLASSES[split] for v in each.split()}
        told = flat(*(re.findall("[a-z]+", each.lower()) for each in flat(*of_split(lines, split))))
        assert not (values | things) & set(told)


def test_sentences_of_two_lines_are_drawn_and_all_pairs_of_lines_alike_often():
    lines = tuple((f"p{i}", f"q{i}") for i in range(9))
    drawn = Counter(of_two_lines(Draw(random.Random(i), "dev"), lines) for i in range(3000))
    mine = of_split(lines, "dev")
    assert set(drawn) == {(p, q) for p, _ in mine for _, q in mine if p[1] != q[1]}
    assert min(drawn.values()) > 400 and max(drawn.values()) < 600


@pytest.mark.parametrize("split", SPLITS)
def test_no_need_spells_three_letters_of_what_would_mend_it_or_another(split):
    for each in payoff.NEED_CLASSES[split]:
        things = each.split()
        needs = [payoff.NEEDS[thing] for thing in things]
        assert len({(len(need), len(need.split())) for need in needs}) == 1
        threes = {thing[i : i + 3] for thing in things for i in range(len(thing) - 2)}
        shared = {
            word
            for need in needs
            for word in re.findall("[a-z]+", need.lower())
            if any(three in word for three in threes)
        }
        assert not shared


def test_by_names_are_in_classes_and_in_one_split_alone():
    seen = [n for split in SPLITS for each in BY_NAMES[split] for n in each.split()]
    assert len(seen) == len(set(seen))
    for split in SPLITS:
        for each in BY_NAMES[split]:
            assert len({len(n) for n in each.split()}) == 1
        pairs = sum(len(each.split()) // 2 for each in BY_NAMES[split])
        assert pairs >= MOST["attr.alias"]
    assert not set(seen) & {n for s in SPLITS for c in NAMES[s].values() for e in c
                            for n in e.split()}  # fmt: skip


def test_what_stands_around_two_sentences_is_of_one_split_and_names_nobody():
    for told in (both.OPENINGS, both.CLOSINGS):
        assert len(set(told)) == 18 and not any("{" in sentence for sentence in told)


def test_what_is_shown_never_names_the_answer():
    for table in latent.SHOWN.values():
        for value, shown in table.items():
            assert len(shown) == 3
            assert not any(value.rstrip("s") in re.findall("[a-z]+", s.lower()) for s in shown)
    for noun, need in payoff.NEEDS.items():
        assert noun not in re.findall("[a-z]+", need)


def test_values_of_a_class_are_alike_in_length():
    for classes in (
        *VALUES.values(),
        *payoff.NEED_CLASSES.values(),
        *(c for s in SPLITS for c in NAMES[s].values()),
    ):
        for each in classes:
            assert len({len(word) for word in each.split()}) == 1
    needs = [w for classes in payoff.NEED_CLASSES.values() for c in classes for w in c.split()]
    assert sorted(needs) == sorted(payoff.NEEDS)
    assert {v for c in VALUES["fear"] for v in c.split()} == set(latent.SHOWN["fear"])
    assert {v for c in VALUES["cannot"] for v in c.split()} == set(latent.SHOWN["cannot"])


def test_every_template_closes_its_brackets():
    for module in pkgutil.iter_modules(frames.__path__):
        source = importlib.import_module(f"memformer.plotbench.frames.{module.name}")
        for name, value in vars(source).items():
            if name.isupper():
                text = repr(value)
                assert text.count("[") == text.count("]") and text.count("{") == text.count("}")


def test_render_fills_both_twins_and_says_where_they_differ():
    slots = {**person_slots("p", ("Anna", "Jane"), "f"), "v": "oak"}
    got = render("Soon {p} sold {p.his} {v^}, said {p.he}.", slots, random.Random(0))
    assert got == Passage(
        "Soon Anna sold her Oak, said she.", "Soon Jane sold her Oak, said she.", ((5, 9),)
    )
    both = join([got, got])
    assert both.swaps == ((5, 9), (39, 43)) and both.a[39:43] == "Anna" and both.b[39:43] == "Jane"


def test_render_draws_choices_and_refuses_what_it_cannot_fill():
    drawn = {render("[a|b|c]", {}, random.Random(seed)).a for seed in range(30)}
    assert drawn == {"a", "b", "c"}
    with pytest.raises(KeyError, match="q"):
        render("{q}", {}, random.Random(0))
    with pytest.raises(AssertionError, match="differ in length"):
        render("{p}", {"p": ("Anna", "Joanna")}, random.Random(0))


def test_expand_makes_a_capital_of_what_begins_a_sentence():
    parts = {"why": "it rained", "who": "{b} had it"}
    assert (
        expand("{why^}. {who^}, since {why}.", parts) == "It rained. {b^} had it, since it rained."
    )


def test_deck_deals_every_frame_of_its_split_before_any_again():
    cards = tuple("abcdefghi")
    deck = Deck(random.Random(3), "dev")
    dealt = [deck.deal(cards) for _ in range(30)]
    assert all(set(dealt[i : i + 3]) == {"b", "e", "h"} for i in range(0, 30, 3))
    assert all(x != y for x, y in zip(dealt, dealt[1:], strict=False))


@pytest.mark.parametrize("split", SPLITS)
def test_no_two_sentences_alike_in_a_row(split):
    for seed in range(10):
        text = (
            make_base(seed, bucket=512, length=8192, families=("all",), split=split).stories[0].text
        )
        sentences = re.split(r"(?<=[.!?])[\"']?\s+|\n+", text)
        shapes = [re.sub(r"\b[A-Z][a-z]+\b", "N", s) for s in sentences if s and s != "* * *"]
        assert not [s for s, t in zip(shapes, shapes[1:], strict=False) if s == t and len(s) > 12]


def test_a_story_has_chapters_scenes_talk_and_letters():
    texts = [
        make_base(seed, bucket=2048, length=8192, families=("core",), split="train").stories[0]
        for seed in range(8)
    ]
    assert all(len(story.chapters) >= 2 for story in texts)
    for story in texts:
        lines = story.text.split("\n\n")
        assert lines.count("* * *") >= 5
        assert sum('"' in line for line in lines) > len(lines) / 6
        for chapter in story.chapters:
            title = story.text[chapter.span[0] :].split("\n")[0]
            assert title.isupper() and len(title) < 40
    assert sum("Dear" in story.text or "deserter" in story.text for story in texts) >= 4


def test_cast_and_values_are_drawn_without_repeats():
    pairs, others = draw_cast(random.Random(0), "dev", 7, 30)
    names = [each.name for pair in pairs for each in pair] + [each.name for each in others]
    assert len(set(names)) == len(names)
    assert all(p.x.gender == p.y.gender and len(p.x.name) == len(p.y.name) for p in pairs)
    with pytest.raises(ValueError, match="n_others must be at most"):
        draw_cast(random.Random(0), "dev", 7, 300)
    with pytest.raises(ValueError, match="n_pairs: the names of split 'dev'"):
        draw_cast(random.Random(0), "dev", 70, 0)
    taken: set[str] = set()
    drawn = [v for _ in range(2) for v in draw_values(random.Random(1), "eyes", taken)]
    assert len(set(drawn)) == 4 and taken == set(drawn)
