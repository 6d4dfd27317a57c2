"""Traces: what a frame, a call and an alert went through, as spans that a collector puts together.

Off unless VANTAGE_OTLP_ENDPOINT names a collector. Spans are told when they are over; ids travel as `traceparent`.
"""
