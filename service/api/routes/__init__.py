"""The HTTP routes. Each one parses a request, runs its work and renders the response."""
