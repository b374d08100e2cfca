"""`python -m rpi_health`."""

from rpi_health.cli import main

if __name__ == "__main__":
    main()
