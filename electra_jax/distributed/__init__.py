"""Several processes, on as many hosts or not, as one run: finding each other, agreeing, and losing one."""
