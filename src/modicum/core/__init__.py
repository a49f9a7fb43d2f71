"""The shared floor: it runs what the methods declare, and knows no method."""
