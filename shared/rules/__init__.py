"""Rules, pure: `camrule/v1` documents, zone membership with hysteresis, three values, and the evaluator.

Everything is a function of event times and values that come in as arguments, so a decision replays bit for bit.
Times are integer microseconds; coordinates are fractions of the frame.
"""
