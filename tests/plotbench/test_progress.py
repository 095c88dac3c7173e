"""A line a story says how far and how fast."""

from memformer.plotbench.progress import story_lines


def test_lines_tell_rate_and_time_left_of_each_condition():
    times = iter([0.0, 4.0, 6.0, 16.0])
    lines = []
    tell = story_lines(lines.append, clock=lambda: next(times))
    tell("toy", "on", "true", 1, 3)
    tell("toy", "on", "true", 2, 3)
    tell("toy", "off", "header", 11, 400)  # ten of them were held already
    assert lines == [
        "toy on: story 1 of 3, 4.0 s a story, 0:00:08 left",
        "toy on: story 2 of 3, 3.0 s a story, 0:00:03 left",
        "toy off, fraction header: story 11 of 400, 10.0 s a story, 1:04:50 left",
    ]
