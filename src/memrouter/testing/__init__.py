"""Fakes that work: a scripted provider to call, a clock to set, and stores without a disk."""
