"""Sentences with slots, one file a kind of fact, and the prose between them.

`{x}` is filled, `{x^}` with a capital, `{x.he}` with a pronoun; of `[one|another]` one is drawn.
Every third frame belongs to one split (`names.of_split`).
"""
