"""How English says what a world can hold: patterns over sentences whose people are numbered.

`@3` is a person, `@3's` what is that person's. A pattern names pieces in angles: `<S>` and `<R>`
people, `<S's>` and `<R's>` possessives, `<V>` a known value of the pattern's kind, `<T>` a known
thing, `<2>` up to two words that are no people, and some verbs. Nothing here was made from the
simulator's frames: what the patterns reach on its prose is measured (`extraction.py`).
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from memformer.plotbench.frames.know import THINGS
from memformer.plotbench.names import VALUES


class Rule(NamedTuple):
    """A pattern that, where it matches, asserts something."""

    kind: str
    """`eyes`, `give`, `dead`, ...: see `RULES`; a change of a state ends in `*`."""
    pattern: re.Pattern[str]


def values(kind: str) -> tuple[str, ...]:
    """Known values of an attribute, without their classes."""
    return tuple(v for each in VALUES[kind] for v in each.split())


MORE_VALUES = {
    "trade": (
        "baker",
        "blacksmith",
        "butcher",
        "carpenter",
        "clerk",
        "cook",
        "fisherman",
        "merchant",
        "policeman",
        "priest",
        "sailor",
        "servant",
        "shoemaker",
        "smith",
        "waiter",
        "writer",
    ),  # fmt: skip
    "birthplace": ("Birmingham", "Brighton", "Liverpool", "Manchester", "Oxford", "Rome"),
    "plays": ("cello", "fiddle", "flute", "harp", "lute", "organ", "piano", "trumpet"),
    "eyes": ("hazel", "amber", "gray", "violet", "golden"),
    "hair": ("red", "grey", "gray", "blonde", "blond", "fair", "auburn", "dark"),
}
"""Values that no story has and that contradict those it has."""
PLACES = (
    *values("home"), "kitchen", "church", "garden", "market", "square", "river", "inn", "tavern",
    "quay", "pier", "shop", "barn", "attic", "cellar", "office", "hospital", "field", "forest",
    "wood", "beach", "hall", "yard", "village", "town", "city", "parlour", "bedroom", "hotel",
    "library", "garret", "street",
)  # fmt: skip

SAID = (
    "said|says|asked|asks|replied|replies|answered|cried|cries|whispered|shouted|muttered|murmured"
    "|called|exclaimed|added|began|repeated|continued|remarked|declared|announced|explained|insisted"
    "|agreed|admitted|went on|put in"
)
_WENT = (
    "went|goes|came|walked|ran|rode|returned|hurried|drove|climbed|crossed|travelled|traveled"
    "|rushed|strode|moved|headed|made (?:his|her) way"
)
_DID = (
    "took|went|came|sat|stood|ran|put|got|gave|held|made|found|saw|left|rose|fell|brought|began"
    "|turned|looked|walked|smiled|laughed|nodded|opened|closed|picked|pulled|reached|ate|drank|wept"
    "|sang|threw|shook|knew|thought|felt|heard|wrote|slept|woke|met|led|caught|shut|set|let|wore"
)
_PIECES = {
    "S": r"@(?P<s>\d+)(?![\d'])(?:,? who)?",
    "S's": r"@(?P<s>\d+)'s",
    "R": r"@(?P<r>\d+)(?![\d'])(?:,? who)?",
    "R?": r"@(?P<r>\d+)(?!\d)",
    "R's": r"@(?P<r>\d+)'s",
    "OWN": r"(?:@\d+'s|the|a|an|this|that|his|her|their)",
    "BE": r"(?:was|were|is|are|am|being|had been|has been|have been)",
    "HAVE": r"(?:had|has|have|having|with)",
    "SAID": rf"(?:{SAID})",
    "WENT": rf"(?:{_WENT})",
    "DID": rf"(?:{_DID})",
    "GAVE": r"(?:gave|gives|handed|passed|lent|sold|sent|brought|offered|returned|given)",
    "ON": r"[^@.;\"]{0,30}?",
    "IN": r"(?:in|at|on|by|near|inside|outside|beside|behind)",
    "P": rf"(?P<v>{'|'.join(PLACES)})",
    **{str(n): rf"(?:[\w-]+,? ){{0,{n}}}?" for n in range(1, 6)},
}

RULES: dict[str, tuple[str, ...]] = {
    "eyes": (
        r"<S's> <3>eyes(?:,<ON>,)?,? (?:which |that )?(?:<BE>|looked|seemed|remained) <3><V>\b",
        r"<S's> <3><V> <1>eyes\b",
        r"\b<V> <1>eyes of <S>",
        r"<S>,? <HAVE> <3><V> <1>eyes\b",
        r"\b<V>-eyed <S>",
        r"<S>,? <2><V>-eyed\b",
        r"\bhow <V> <S's> eyes\b",
        r"<S>,? whose <2><V> <1>eyes\b",
        r"<S>,? whose eyes <BE> <2><V>\b",
        r"\beyes of <S> <BE> <2><V>\b",
        r"<S> <ON>\b(?:the|those|with) <1><V> eyes\b",
    ),
    "hair": (
        r"<S's> <3>hair(?:,<ON>,)?,? (?:which |that )?(?:<BE>|looked|shone) <3><V>\b",
        r"<S's> <3><V> <1>hair\b",
        r"\b<V> <1>hair of <S>",
        r"<S>,? <HAVE> <3><V> <1>hair\b",
        r"<S>,? whose <2><V> <1>hair\b",
        r"\b<V>-haired <S>",
        r"<S> <ON>\bwith <2><V> hair\b",
        r"<S>,? <2><V>-haired\b",
    ),
    "hair*": (
        r"<S>,? <5>(?:dyed|dyeing|coloured|bleached|tinted|turning) <OWN> hair <2><V>\b",
        r"<S's> hair (?:had |has )?(?:turned|gone|went|became|become|grew|grown) <2><V>\b",
        r"<S>,? <1>(?:had |has )?(?:turned|gone|went) <V> (?:overnight|at the temples)",
    ),
    "birthplace": (
        r"<S>,? (?:<BE> )?<2>born <2>(?:in|at|near) <V>\b",
        r"<S>,? (?:came|comes|hailed|hails) (?:originally )?from <V>\b",
        r"<S>,? (?:<BE> )?<1>(?:native|child|son|daughter) of <V>\b",
        r"<S's> (?:birthplace|native <1>town|home ?town|place of birth),? (?:<BE> )?<V>\b",
        r"\b<V>,? (?:where|in which) <S> (?:was|had been) born\b",
        r"\bborn (?:in|at|near) <V>,? <S>",
        r"<S>,? from <V>,",
        r"<S> <ON>\b<V>\b[^@.;]{0,20}\bborn there\b",
        r"\b<V>\b[^.]{0,50}?<S>,? (?:<BE> )?born there\b",
    ),
    "trade": (
        r"<S>,? <BE> <1>(?:a|an|the) <2><V>\b",
        r"<S>, (?:being |once |now |still )?(?:a|an) <1><V>\b",
        r"<S>, the <1><V>[,.;]",
        r"<S> the <V>\b",
        r"\bthe <1><V> <S>",
        r"\bthe <V>, <S>[,.]",
        r"<S>,? (?:had |has )?<1>(?:worked|works|working|served|lived"
        r"|(?:earned|earns|earning|made|making) <OWN> (?:living|bread)|set up|started) as"
        r" (?:a|an|the) <1><V>\b",
        r"<S> <ON>,? and (?:was|is) (?:a|an) <1><V>\b",
        r"<S's> (?:trade|occupation|work|profession|job) <2>(?:a|an) <V>\b",
        r"\bthe <V> <1>(?:was|is) <S>",
        r"<S>,? <BE> <2>(?:apprenticed|bound|bred) <1>(?:a|an|the) <V>\b",
        r"<S>,? as (?:a|an) <V>\b",
        r"\b(?:put|set|wrote) <S> down as (?:a |an )?<V>\b",
    ),
    "trade*": (
        r"<S>,? (?:had |has )?(?:became|become|turned) (?:into )?(?:a|an|the) <2><V>\b",
        r"\b(?:made|turned) <S> into (?:a|an) <1><V>\b",
        r"<S>,? (?:had |has )?(?:took|taken|found) <2>(?:work|a post|a place) as (?:a|an) <V>\b",
    ),
    "plays": (
        r"<S>,? <2>(?:play(?:s|ed|ing)?|practi[sc](?:ed|es|ing)|strum\w+|tun(?:ed|es|ing)|learnt"
        r"|learned|mastered) <1>(?:the|<OWN>) <1><V>\b",
        r"<S's> <1><V>\b",
        r"<S> <ON>,? playing (?:the|<OWN>) <1><V>\b",
        r"<S>,? <1>(?:at|on|with) the <V>\b",
        r"<S>,? (?:took|picked|got) (?:up|down|out) (?:the|<OWN>) <1><V>\b",
    ),
    "home": (
        r"<S>,? (?:had |has )?(?:lived|lives|dwelt|lodged|lodges|resided|roomed) <2>(?:at|in|by"
        r"|over|near) (?:the|<OWN>) <1><V>\b",
        r"<S's> (?:home|house|rooms?|lodgings?) <1>(?:<BE> )?<2>(?:at|in|by|near) the <V>\b",
        r"<S's> home,? (?:<BE> )?the <V>\b",
    ),
    "home*": (
        r"<S>,? (?:had |has )?moved <3>(?:to|into) the <1><V>\b",
        r"<S>,? (?:had |has )?(?:took|taken|rented) (?:rooms?|lodgings) <1>(?:at|in|by) the <V>\b",
    ),
    "holder": (
        r"<S>,? (?:kept|keeps|owned|owns|possessed|pocketed) the <T>\b",
        r"<S>,? (?:had|has) the <T>(?=[.,;])",
        r"\bthe <T> <2>(?:belonged to|was with|was in the hands of) <S>",
        r"\bthe <T> (?:was|lay|is) in <S's> (?:pocket|hands?|bag|drawer|room|house)\b",
    ),
    "take": (
        r"<S>,? (?:took|stole|seized|grabbed|snatched|picked up|found|received|bought) <1>the"
        r" <1><T>\b",
    ),
    "give": (
        r"<S>,? (?:had )?<GAVE> <R> <2>(?:the|@\d+'s) <1><T>\b",
        r"<S>,? (?:had )?<GAVE> (?:the|@\d+'s) <1><T> <2>to <R>",
        r"<R>,? (?:had )?(?:took|received|got|bought|accepted) the <1><T> from <S>",
        r"\bthe <T> (?:was|had been) given to <R> by <S>",
    ),
    "dead": (
        r"<S>,? (?:had )?(?:died|dies|drowned|perished|passed away)\b",
        r"<S>,? <BE> <1>(?:dead|buried|killed|drowned)\b",
        r"<S's> (?:death|funeral|grave|coffin|burial|corpse|ghost|widow|tomb)\b",
        r"\b(?:death|funeral|grave|coffin|burial|body) of <S>",
        r"\b(?:buried|mourned) <S>",
        r"\bthe late <S>",
    ),
    "alive": (
        r"<S>,? <BE> <1>(?:alive|recovered|well again|on the mend|out of danger)\b",
        r"<S>,? (?:had )?(?:recovered|got well|got better|pulled through|grew well)\b",
    ),
    "ill": (
        r"<S>,? (?:had )?(?:fell|fallen|took|taken|was|is) <1>(?:ill|sick)\b",
        r"<S>,? (?:had|has|took|caught) a <1>(?:fever|cough|chill|sickness)\b",
        r"<S>,? (?:had been|was|is|lay) <1>(?:coughing|feverish|delirious|bedridden)\b",
        r"<S's> (?:illness|fever|sickness)\b",
    ),
    "speak": (
        r"<S> (?:\w+ly )?(?:said|says|asked|replied|answered|whispered|cried|shouted|muttered)\b",
        r"<S> (?:\w+ly )?<SAID>\b[^.;\"]*\"\"",
        r"\"\" <S> (?:\w+ly )?<SAID>\b",
        r"(?:\"\"|[,?!]) <SAID> (?:the )?<S>",
        r"<S> <1>(?:told|asked) <R>",
    ),
    "act": (r"<S> (?:\w+ly )?(?:<DID>|(?!need|indeed)[a-z]{2,}ed)\b",),
    "at": (
        r"<S>,? (?:was|is|sat|stood|waited|lay|slept|stayed|knelt|remained|worked) <1><IN>"
        r" (?:the|<OWN>) <1><P>\b",
    ),
    "move": (r"<S>,? (?:had )?<WENT> <2>(?:to|into|for|towards|toward) (?:the|<OWN>) <1><P>\b",),
    "knows": (
        r"<S>,? (?:knew|knows|remembered|realised|realized|saw|was sure) (?:that )?the <T>"
        r" (?:was|lay|were|had been <1>|is) <1>(?:in|under|behind|inside|beneath) the <V>\b",
        r"<S>,? (?:looked|searched|felt|reached|went|groped) <3>(?:in|under|behind|to|inside|into)"
        r" the <V> for the <T>\b",
        r"<S>,? (?:looked|searched) for the <T> <1>(?:in|under|behind|inside) the <V>\b",
        r"<S>,? took the <T> <1>(?:from|out of) <1>the <V>\b",
    ),
    "tell": (
        r"<S>,? (?:told|tells|let) <R> (?:know )?(?:that )?the <T> (?:was|lay|were|is) <1>"
        r"(?:in|under|behind|inside) the <V>\b",
    ),
    "spot": (
        r"\bthe <T>,? (?:was|lay|were|is|had been hidden|was hidden) <2>(?:in|under|behind|inside"
        r"|beneath) the <V>\b",
        r"\b(?:put|hid|hidden|kept|shut|locked|moved|pushed|laid|slipped|placed|left|stowed)"
        r" (?:the|<OWN>) <1><T> <3>(?:in|into|under|behind|inside|beneath|to) the <1><V>\b",
    ),
    "mother": (
        r"<R>,? (?:was |is )?<S's> mother\b",
        r"<S's> mother,? (?:was |is )?<R?>",
        r"<S>,? <1>(?:son|daughter|child) of <R>",
        r"<R's> (?:son|daughter),? <S>",
    ),
    "brother": (
        r"<S's> brother,? (?:was |is )?<R?>",
        r"<R>,? (?:was |is )?<S's> brother\b",
        r"<R>,? (?:the )?brother of <S>",
    ),
    "spouse": (
        r"<S's> (?:wife|husband),? (?:was |is )?<R?>",
        r"<R>,? (?:was |is )?<S's> (?:wife|husband)\b",
        r"<S>,? (?:had )?(?:married|wed) <R>",
    ),
    "promise": (
        r"<S>,? (?:had )?(?:promised|swore|sworn|vowed|pledged|undertook)\b",
        r"<S>,? (?:had )?(?:gave|given) <OWN> word\b",
    ),
    "fulfil": (
        r"<S>,? (?:had )?(?:kept|fulfilled|honoured|honored|made good) <OWN> (?:promise|word)\b",
    ),
    "borrow": (
        r"<S>,? (?:had )?borrowed <5>from <R>",
        r"<R>,? (?:had )?(?:lent|loaned) <S>",
        r"<R>,? (?:had )?let <S> have the (?:money|sum|loan)\b",
        r"<S>,? <5>had (?:it|the money|the sum|money|a loan) from <R>",
    ),
    "repay": (
        r"<S>,? (?:had )?(?:repaid|paid back|settled with|paid <OWN> debts?)\b",
        r"<S>,? (?:had )?paid <R> (?:back|off|in full|what @\d+ owed)\b",
        r"<S>,? (?:had )?(?:gave|given|returned|paid) (?:<R>|the) <2>(?:money|loan|debt)\b",
    ),
    "owes": (r"<S>,? (?:still )?(?:owed|owes) <R>", r"<S>,? <BE> <2>in (?:debt|<R's> debt)\b"),
}
"""By kind. Of a kind's people, S is whom it is about: who gives, plays, is owed to by R, ...

`holder`: S has T; `take`: S takes T; `give`: S gives T to R; `mother`, `brother`, `spouse`: R is
S's; `borrow`: S from R; `spot`: T lies at V; `knows`, `tell`: S (to R) that T lies at V."""


@cache
def rules() -> tuple[Rule, ...]:
    """All patterns, ready to be searched for in lower-case sentences."""
    return tuple(_compiled())


def canonical(kind: str, value: str) -> str:
    """A value as the world writes it."""
    written = {v.lower(): v for v in _known(kind)}
    value = written[value]
    return "grey" if value == "gray" else value


def _known(kind: str) -> tuple[str, ...]:
    match kind.removesuffix("*"):
        case "knows" | "tell" | "spot":
            return values("place")
        case "at" | "move":
            return PLACES
        case plain if plain in VALUES:
            return values(plain) + MORE_VALUES.get(plain, ())
        case _:
            return ()


def _compiled() -> Iterator[Rule]:
    for kind, patterns in RULES.items():
        things = THINGS if kind in ("knows", "tell", "spot") else values("object")
        pieces = _PIECES | {
            "V": rf"(?P<v>{'|'.join(v.lower() for v in _known(kind))})(?!\w|')",
            "T": rf"(?P<t>{'|'.join(things)})",
        }
        for pattern in patterns:
            while found := re.search(r"(?<!\?P)<([A-Z0-9][\w'?]*)>", pattern):
                pattern = pattern[: found.start()] + pieces[found[1]] + pattern[found.end() :]
            yield Rule(kind, re.compile(pattern))
