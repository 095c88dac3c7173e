"""Names for the renamed copy: who knows the book by its names no longer knows it."""

import re

from memformer.plotbench.novels.edited import Edit
from memformer.plotbench.novels.recipes import Kind, Recipe

FRESH: dict[Kind, str] = {
    "f": "Alba Berta Corinna Delphie Edwina Floria Gwenda Hestia Idonea Jocasta Keziah Leocadia "
    "Melisande Nerissa Ottilie Petronel Rosalba Sabra Thirza Ursley Verena Winifrith Xanthe "
    "Ysolde Zillah",
    "m": "Alaric Barnaby Caspar Dunstan Eustace Fabian Godwin Hilary Inigo Jocelyn Kenelm Lambert "
    "Merrick Nahum Osbert Piers Quentin Roland Silvan Tobias Ulric Vyvyan Wystan Lucian Ambrosio "
    "Crispin Lorcan Evander Hamish Torquil",
    "s": "Ashgrave Birtwell Cawthor Dunmarsh Elvering Farncott Gadlow Hexley Irthing Jessamy "
    "Kelland Luttrow Mossop Nettleby Orchant Pennifold Quarles Rusham Satterley Thackwell Umfrey "
    "Vosper Wraxall Yeldon Ancroft Boscage Crayburn Dallimer Eddowes Fulwell Garstang Holmby "
    "Ivimey Kirkstead Loxdale Marchbank",
    "p": "Aldermoor Bramfold Coldwick Dunsmere Eastrop Fallowdon Garthmoor Hazelby Ilverton "
    "Kingslow Larkstead Marlhurst Nunthorne Oakhanger Pendlewick Queensmoor Ravenglade Selworth "
    "Thornholt Underley Vennimore Westerlow Yarnstock Abberfold Bexmoor",
}
"""Fresh names by kind: invented, or rare in novels."""


def fresh_names(recipe: Recipe, text: str) -> dict[str, str]:
    """A fresh name for each of the recipe's; none of them occurs in the text.

    Raises:
        ValueError: more names of a kind than there are fresh ones.
    """
    free = {
        kind: iter([name for name in names.split() if name not in text])
        for kind, names in FRESH.items()
    }
    found: dict[str, str] = {}
    for name, kind in recipe.names:
        fresh = next(free[kind], None)
        if fresh is None:
            raise ValueError(
                f"{recipe.book}: the recipe has more names of kind {kind!r} than fresh ones fit; "
                "extend FRESH"
            )
        found[name] = fresh
    return found


def renamed(words: str, fresh: dict[str, str]) -> str:
    """Words with each name replaced, also within plurals and possessives."""
    return _pattern(fresh).sub(lambda m: _like(m[0], fresh), words) if fresh else words


def name_edits(text: str, fresh: dict[str, str]) -> list[Edit]:
    """An edit for each mention of a name."""
    if not fresh:
        return []
    return [
        Edit(m.start(), m.end(), _like(m[0], fresh), False) for m in _pattern(fresh).finditer(text)
    ]


def _pattern(fresh: dict[str, str]) -> re.Pattern[str]:
    every = sorted({*fresh, *(name.upper() for name in fresh)}, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, every))})(?=(?:e?s)?\b)")


def _like(name: str, fresh: dict[str, str]) -> str:
    """In capitals where the name stands in capitals."""
    return fresh[name] if name in fresh else fresh[name.capitalize()].upper()
