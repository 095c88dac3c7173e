"""Real novels: attributes that trade places, the next chapter's opening, and where one stands."""
