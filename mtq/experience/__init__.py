"""Experience: environments are stepped by a policy, and what came of it is stored and sampled."""
