"""What rpi-health is compared with: programs of their own, which share no code with it.

Each takes a queue that is filled already, and prints two JSON lines: `consuming` at its first message, and `stopped`
with its figures after its last one. Those are the events that rpi-health logs, so that all are measured alike.
"""
