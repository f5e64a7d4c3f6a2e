"""Commands that use, import, register and promote models."""
