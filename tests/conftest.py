"""Settings that every test shares."""

import hypothesis

# The first call of a compiled kernel takes seconds, and machines that run tests are busy: no test asserts on time.
hypothesis.settings.register_profile("semrsm_bench", deadline=None)
hypothesis.settings.load_profile("semrsm_bench")
