"""Tests of app/jobs without a server."""
