"""Looks: the repainted colours of a field, and a field under one."""
