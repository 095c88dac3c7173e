"""Rating events for tests; every field has a default."""

from datetime import UTC, datetime, timedelta

from memformer.data.feedback import RatingEvent

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def event(id: str = "e1", recorded: float = 1, **changes) -> RatingEvent:
    """An event recorded so many days after the start, judged just then."""
    fields = {
        "event": id, "rater": "ann", "item": "v1", "item_kind": "review",
        "criterion": "want_to_read", "value": 6.0, "scale": (1.0, 7.0), "rated_at": day(recorded),
        "recorded_at": day(recorded), "source": "test",
    }  # fmt: skip
    return RatingEvent(**{**fields, **changes})
