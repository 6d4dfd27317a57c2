"""Notifier: hears alerts, delivers each once to every matching subscription, and says what became of it."""
