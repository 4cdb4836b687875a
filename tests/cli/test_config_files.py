"""Config files: finding, running, overriding."""

import pytest
from ml_collections import ConfigDict, config_dict

from oasjax.cli import config_files
from oasjax.cli.config_files import find_config, load_config
from oasjax.errors import UserError

CONFIG = """
from ml_collections import ConfigDict, config_dict

def get_config():
    config = ConfigDict()
    config.steps = 10
    config.name = "small"
    config.optimizer = ConfigDict(dict(learning_rate=1e-3, nesterov=False, milestones=(3, 5)))
    config.model = ConfigDict(dict(input_size_wh=(64, 64), weights=(0.5, 1.0), tags=["a"]))
    config.limit = config_dict.placeholder(int)
    config.note = None
    config.epochs = config.get_ref("steps") * 2
    return config
"""


@pytest.fixture
def config_path(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(CONFIG)
    return str(path)


def overridden(path, *overrides):
    return load_config(path, [f"--config.{o}" for o in overrides])


def test_a_config_without_overrides_is_what_its_file_says_and_is_locked(config_path):
    config = load_config(config_path)
    assert config.optimizer.milestones == (3, 5)
    with pytest.raises(AttributeError):
        config.optimizer.typo = 1


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("steps=12", 12),
        ("steps=-1", -1),
        ("name=large", "large"),
        ("name='a b'", "a b"),
        ("name=12", "12"),
        ("name=", ""),
        ("optimizer.learning_rate=5e-4", 5e-4),
        ("optimizer.learning_rate=1", 1.0),
        ("optimizer.nesterov=true", True),
        ("optimizer.nesterov=False", False),
        ("optimizer.milestones=(7,)", (7,)),
        ("optimizer.milestones=()", ()),
        ("model.input_size_wh=96,128", (96, 128)),
        ("model.input_size_wh=[96, 128]", (96, 128)),
        ("model.weights=(1, 0.5)", (1.0, 0.5)),
        ("model.tags=['b', 'c']", ["b", "c"]),
        ("limit=3", 3),
        ("limit=None", None),
        ("note=7", 7),
        ("note=some words", "some words"),
    ],
)
def test_an_override_is_read_as_the_type_that_stands_there(config_path, override, value):
    config = overridden(config_path, override)
    for name in override.partition("=")[0].split("."):
        config = config[name]
    assert config == value
    assert type(config) is type(value)


def test_later_overrides_win_and_derived_values_follow(config_path):
    config = overridden(config_path, "steps=3", "steps=4")
    assert (config.steps, config.epochs) == (4, 8)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("steps=many", "steps takes a whole number, as in steps=10; got 'many'"),
        ("steps=1.5", "a whole number"),
        ("steps=True", "a whole number"),
        ("steps=__import__('os')", "a whole number"),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate takes a number"),
        ("optimizer.nesterov=1", "optimizer.nesterov takes true or false"),
        ("optimizer.milestones=3", "a tuple of int"),
        ("optimizer.milestones=(1.5,)", "a tuple of int"),
        ("optimizer.milestones=(True,)", "a tuple of int"),
        ("model.weights=('a',)", "a tuple of float"),
        ("limit=3.5", "a whole number"),
    ],
)
def test_a_value_of_another_type_names_key_type_and_value(config_path, override, expected):
    with pytest.raises(UserError) as error:
        overridden(config_path, override)
    assert expected in str(error.value)
    assert repr(override.partition("=")[2]) in str(error.value)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("optimiser.learning_rate", "optimizer.learning_rate"),
        ("learning_rate", "optimizer.learning_rate"),
        ("optimizer.learning_rte", "optimizer.learning_rate"),
        ("stepz", "steps"),
        ("steps.total", "steps"),
    ],
)
def test_an_unknown_key_names_the_nearest_there_is(config_path, key, near):
    with pytest.raises(UserError) as error:
        overridden(config_path, f"{key}=1")
    assert f"unknown config key: {key}." in str(error.value)
    assert near in str(error.value).partition("Did you mean ")[2]


def test_a_key_unlike_any_other_lists_them_all(config_path):
    with pytest.raises(UserError, match=r"There are: .*model\.input_size_wh.*steps"):
        overridden(config_path, "qqqqqq=1")


def test_a_section_cannot_be_overridden_as_a_whole(config_path):
    with pytest.raises(UserError, match=r"optimizer is a section.*optimizer\.learning_rate"):
        overridden(config_path, "optimizer=sgd")


def test_an_override_without_a_value_is_refused(config_path):
    with pytest.raises(UserError, match="steps has no value"):
        overridden(config_path, "steps")


def test_a_failed_override_leaves_a_placeholder_typed():
    config = ConfigDict({"limit": config_dict.placeholder(int)})
    with pytest.raises(UserError):
        config_files.apply_override(config, "--config.limit=x")
    config_files.apply_override(config, "--config.limit=4")
    assert config.limit == 4


def test_every_name_in_the_configs_folder_is_found_by_its_bare_name():
    for name in config_files.config_names():
        assert find_config(name) == config_files.configs_folder() / f"{name}.py"


@pytest.mark.parametrize("name", ["quikstart", "configs/quikstart.py", "/no/such.py", "", "."])
def test_a_missing_config_lists_the_names_there_are(name, tmp_path, monkeypatch):
    (tmp_path / "quickstart.py").write_text(CONFIG)
    (tmp_path / "_shared.py").write_text("")
    monkeypatch.setattr(config_files, "configs_folder", lambda: tmp_path)
    with pytest.raises(UserError, match=r"or one of: quickstart\.") as error:
        find_config(name)
    assert str(error.value).startswith(f"config not found: {name}")


def test_an_installed_package_reads_the_configs_that_it_carries(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "oasjax"
    (package / "_configs").mkdir(parents=True)
    (package / "_configs" / "quickstart.py").write_text(CONFIG)
    monkeypatch.setattr(config_files, "PACKAGE", package)
    assert find_config("quickstart") == package / "_configs" / "quickstart.py"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", r"no function get_config\(\)"),
        ("def get_config(:", "no valid Python, line 1"),
        ("def get_config(): return {}", r"returned a dict"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, text, expected):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UserError, match=expected) as error:
        load_config(str(path))
    assert str(path) in str(error.value)
