"""How fast rpi-health is, beside yardsticks, in one run on one machine: `make bench`.

Only ratios mean anything elsewhere: every contender has the same broker, the same disk and the same noise, each in its
turn. Starts private servers with durable settings, and leaves nothing but a file of results.
"""
