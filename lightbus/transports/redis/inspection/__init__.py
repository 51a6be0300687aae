"""Looking at a Redis, alone or a cluster: does it have all that the promises need?"""
