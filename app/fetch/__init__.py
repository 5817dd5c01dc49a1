"""Photos fetched by their URL, from public addresses only: no caller may reach the network behind this service."""
