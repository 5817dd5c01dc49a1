"""Webhooks to the Standard Webhooks specification: callers are told when their jobs end."""
