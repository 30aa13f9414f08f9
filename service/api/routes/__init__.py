"""The HTTP routes: thin, each parses, asks the engine and renders."""
