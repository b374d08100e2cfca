"""The units for systemd, the image and the Compose file."""
