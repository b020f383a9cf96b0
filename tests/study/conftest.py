import pytest

from tests.study.tiny import tiny_study


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "study"
    tiny_study().run(path, workers=2, verbose=0).write()
    return path
