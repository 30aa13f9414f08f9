"""The queue and the compute thread in front of the device."""
