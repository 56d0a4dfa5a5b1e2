import pytest

pytest.register_assert_rewrite("tests.slurm.queued")
