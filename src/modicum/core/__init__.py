"""What all methods share: it runs what they declare, and knows none of them."""
