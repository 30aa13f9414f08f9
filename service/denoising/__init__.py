"""The jobs that process one picture, from encoded bytes to encoded bytes. They do no I/O."""
