# ruff: noqa: E501  (a sentence stands on one line)
"""What stands before and after two sentences of two people, whatever those say.

The two sentences trade their subjects between twins. A sentence on either side keeps them away from
the ends of the paragraph, where tokenizers split a word or a stop in another way.
"""

OPENINGS = (
    "There was news of two people at once.", "Of two at least there was something to tell.",
    "Two names came up, one after the other.", "It is soon told how it stood with those two.",
    "That brought the talk round to two others.", "One heard about both on the same day.",
    "In the same breath two people were spoken of.", "As to the pair, it was like this.",
    "A word about each, to be fair.", "The two cases were not alike.",
    "What people knew of the one they compared with the other.", "First one of the two, then the other.",
    "Both were discussed over the washing.", "There remains the matter of those two.",
    "It went differently with each.", "Two stories were going about.",
    "And here is how the two of them fared.", "Side by side it looked like this.",
)  # fmt: skip
CLOSINGS = (
    "Then the talk turned to the price of fish.", "It was all said without looking up.",
    "After that nobody said anything for a while.", "The clock had the last word.",
    "That was as much as anyone knew.", "It gave the street something to do.",
    "So it stood, and the evening went on.", "More there was not to be had.",
    "People drew what conclusions they liked.", "The kettle put an end to it.",
    "That made two, and it was enough for one day.", "Somebody sighed, from habit.",
    "It was not mentioned again that week.", "And the rain came down on everyone.",
    "Such was the report, and it was believed.", "They left it there and shut the window.",
    "With that the subject was used up.", "Who would have thought it, somebody said.",
)  # fmt: skip
