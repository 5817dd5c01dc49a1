"""Who may do what, and how much of it: API keys, tenants, limits. No web framework here."""
