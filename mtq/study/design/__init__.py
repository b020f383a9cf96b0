"""What a study compares: arms and what they have in common."""
