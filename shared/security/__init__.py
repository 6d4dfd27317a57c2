"""Who calls, what they may do, where we may call, and how secrets are kept."""
