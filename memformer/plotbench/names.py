"""Names and values that trade places between twins, in classes of like length.

All members of one class have as many characters and, after a space or at the beginning of a line,
followed by a stop or an apostrophe or by nothing, as many tokens under each of
`REFERENCE_TOKENIZERS`: a swap moves no other token.
"""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar

from memformer.plotbench.story import Split

Gender = Literal["f", "m"]
T = TypeVar("T")

REFERENCE_TOKENIZERS: dict[str, str] = {
    "SmolLM2": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "gpt2": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "Llama 3": "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
    "Llama 4": "d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed",
    "Qwen": "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
    "Qwen 3.6": "8dde380a6405e935f5de16a99eb61c824f3f814dd1ed298784c72babb7a03cdd",
    "DeepSeek V4": "8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf",
    "Tekken": "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316",
}
"""Under which twins align token by token, with SHA-256 of the file that each was read from.
`experiments/plotbench_tokenizers.py` splits every class below and whole twins by them."""
CHARS_PER_TOKEN = 4.4
"""For distances: what a token covers of this prose where it covers most, so that facts stand at
least as far away as their bucket says. On average it is 3.8 under SmolLM2 and gpt2, 4.0 to 4.2
under the others."""
CHARS_PER_TOKEN_OF_LENGTH = 3.8
"""For lengths: what it covers where it covers little, so that a story is not longer than it should
be; single stories fall to 3.7 under SmolLM2 and are longer by 3 %."""

NAMES: dict[Split, dict[Gender, tuple[str, ...]]] = {
    "train": {
        "f": (
            "Anna Jane Jean", "Gina Leah Lena Nora Rita Tina",
            "Betty Clara Ellen Molly Naomi Olive Penny Sally", "Maria Sarah",
            "Bertha Hester Imogen", "Mary", "Daisy", "Holly", "Polly", "Louisa", "Tamara",
        ),
        "m": (
            "Adam Carl Fred Jack Luke Neil", "Aaron Billy Brian Harry Kevin", "Andre Jimmy",
            "Andrew Arthur Daniel Edward", "Damian Hector Jasper Rodney", "Nathan Walter",
            "Paul", "Jerry", "Larry", "Robin", "Archie", "Donald", "Marcel",
        ),
    },
    "dev": {
        "f": (
            "Alma Joan Nina Ruth Vera", "Amelia Esther Hannah Judith Marion Monica",
            "Fiona Kitty", "Ethel Freda Gerda Helga Hilda", "Carol Karen",
            "Judy", "Rosa", "Cathy", "Celia", "Della", "Fanny", "Martha", "Teresa",
        ),
        "m": (
            "Abel Erik Kurt Levi Noah Owen Seth", "David Frank Henry Jacob Peter",
            "Adrian Calvin Conrad Edmund Gerald Harold", "Bernard Gregory Herbert Leonard",
            "George Joseph Martin Robert", "Simon", "Julian",
        ),
    },
    "test": {
        "f": (
            "Bella Jenny", "Helen Linda Nancy", "Mabel Magda Milly Moira Nelly Selma Tilly",
            "Lydia Paula Petra Sonia", "Nadia Wanda", "Mina Olga",
            "Julia", "Marta", "Norma", "Tanya", "Tessa",
        ),
        "m": (
            "Emil Evan Igor Liam Noel Toby", "Basil Bobby Edgar Edwin Perry Ralph Tommy",
            "Samuel Victor", "Anthony Patrick", "Raymond Timothy",
            "Matthew Michael Richard Stephen William",
            "Rory", "Colin", "Henri", "Jonah", "Stanley",
        ),
    },
}  # fmt: skip
"""Classes of first names, by split and gender; no name stands in two splits. Who is alone in a
class never trades places."""

VALUES: dict[str, tuple[str, ...]] = {
    "eyes": ("blue dark grey pale", "black brown green"),
    "hair": ("black brown white", "copper golden silver yellow"),
    "trade": (
        "miner nurse groom guard", "cooper doctor driver farmer hunter lawyer tailor",
        "carver joiner miller potter sexton tanner turner weaver",
        "builder dentist painter printer soldier surgeon teacher",
    ),
    "birthplace": (
        "Derby Dover Leeds Malta Paris Perth", "Berlin Boston Dublin Durham Lisbon London Madrid "
        "Naples Prague Venice Vienna Warsaw", "Belfast Bristol Cardiff Glasgow Hamburg Lincoln",
        "Lancaster Leicester Newcastle Sheffield Worcester",
    ),
    "plays": ("drum horn", "fife lyre", "banjo bugle", "guitar violin", "cornet zither"),
    "home": (
        "farm mill", "ferry forge lodge tower", "bridge castle chapel school stable",
        "cottage harbour station",
    ),
    "object": (
        "bell book coin lamp pipe ring", "chain glove knife medal purse razor spoon watch",
        "basket bottle button candle hammer mirror pistol ribbon",
        "blanket compass lantern whistle",
    ),
    "place": (
        "clock chest shelf trunk piano couch", "drawer barrel basket", "cabinet cushion"),
    "fear": (
        "bees cats dogs fire rats", "birds boats goats", "crowds horses storms",
        "heights thunder",
    ),
    "cannot": ("read ride sing swim", "dance write"),
}  # fmt: skip
"""Classes of values by attribute."""


class Person(NamedTuple):
    """Somebody in a story."""

    id: str
    """`c_` and the name in small letters; names are unique in a story."""
    name: str
    gender: Gender


class Pair(NamedTuple):
    """Two people whose names trade places: one gender, one class of names."""

    x: Person
    y: Person


def person(name: str, gender: Gender) -> Person:
    """The person of that name."""
    return Person(f"c_{name.lower()}", name, gender)


def draw_cast(
    rng: random.Random, split: Split, n_pairs: int, n_others: int
) -> tuple[list[Pair], list[Person]]:
    """Pairs to be swapped, and others who never are; nobody twice, genders by turns.

    Raises:
        ValueError: the split has not enough names.
    """
    pools: dict[Gender, list[list[str]]] = {}
    for gender, classes in NAMES[split].items():
        pools[gender] = [each.split() for each in classes]
        for names in pools[gender]:
            rng.shuffle(names)
    turns: list[Gender] = rng.sample(list(pools), len(pools))
    pairs = []
    for n in range(n_pairs):
        gender = turns[n % len(turns)]
        open_pools = [names for names in pools[gender] if len(names) > 1]
        if not open_pools:
            raise ValueError(f"n_pairs: the names of split {split!r} allow no more than {n}")
        names = rng.choice(open_pools)
        pairs.append(Pair(person(names.pop(), gender), person(names.pop(), gender)))
    rest = {
        gender: [person(name, gender) for names in left for name in names]
        for gender, left in pools.items()
    }
    for people in rest.values():
        rng.shuffle(people)
    n_most = 2 * min(len(people) for people in rest.values())
    if n_most < n_others:
        raise ValueError(f"n_others must be at most {n_most} in split {split!r}, got {n_others}")
    others = [rest[turns[n % 2]].pop() for n in range(n_others)]
    return pairs, others


def draw_values(
    rng: random.Random, attribute: str, taken: set[str], classes: tuple[str, ...] | None = None
) -> tuple[str, str]:
    """Two values of one class, in random order, that are not yet taken in the story; all pairs are
    equally likely.

    When all are taken, values are used again rather than mixed over classes.
    """
    pools = [each.split() for each in classes or VALUES[attribute]]
    free = [[v for v in pool if v not in taken] for pool in pools]
    usable = [pool for pool in free if len(pool) > 1] or [p for p in pools if len(p) > 1]
    (pool,) = rng.choices(usable, [len(p) * (len(p) - 1) for p in usable])
    first, second = rng.sample(pool, 2)
    taken |= {first, second}
    return first, second


def of_split(frames: Sequence[T], split: Split) -> tuple[T, ...]:
    """The third of the frames that belongs to a split: no frame serves two."""
    return tuple(frames)[("train", "dev", "test").index(split) :: 3]
