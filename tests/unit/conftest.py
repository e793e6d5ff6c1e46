from hypothesis import settings

# Examples enough to find what is wrong, few enough for a test run after every change.
settings.register_profile("unit", max_examples=80, deadline=None)
settings.load_profile("unit")
