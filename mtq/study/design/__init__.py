"""The design of a study: its arms and the protocol that they have in common."""
