"""What a checkout runs on the way: private servers, the installer, the demo. Not part of the package."""
