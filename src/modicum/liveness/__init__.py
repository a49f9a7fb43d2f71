"""FGHV: face anti-spoofing that knows what it does not know. The other branch writes this file."""
