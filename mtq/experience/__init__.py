"""Experience: acting in environments with a policy, and storing and sampling the steps."""
