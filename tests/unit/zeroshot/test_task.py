from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from modicum.errors import ConfigError, DataError
from modicum.zeroshot import Task


def test_a_label_stands_for_itself_by_default() -> None:
    task = Task(["World News", "Sports"], {"Sports": ["sports", "Football", "football"]})
    assert task.verbalizer == {"World News": ("world news",), "Sports": ("sports", "football")}
    assert task.labels == ("World News", "Sports")
    assert task.cosine_templates == ("This example is {label}.",)
    assert task.mask_templates == ("{text} It was {mask}.",)
    assert Task(**task.as_json()) == task == pickle.loads(pickle.dumps(task))


def test_each_kind_of_template_has_its_own_default() -> None:
    task = Task(["a", "b"], templates=["{text} All in all {mask}."])
    assert task.mask_templates == ("{text} All in all {mask}.",)
    assert task.cosine_templates == ("This example is {label}.",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": ["one"]}, "Two labels or more"),
        ({"labels": ["a", "a"]}, "Two labels or more"),
        ({"labels": "abc"}, "must be a list"),
        ({"labels": ["a", "b"], "verbalizer": {"a": ["x"], "b": ["y", "X "]}}, "'a' and 'b' share the word 'x'"),
        ({"labels": ["a", "b"], "verbalizer": {"A": ["x"]}}, "no label"),
        ({"labels": ["a", "b"], "verbalizer": {"a": [" "]}}, "'a' has no word"),
        ({"labels": ["a", "b"], "verbalizer": {"a": "word"}}, "must be a list"),
        ({"labels": ["c", "c++"]}, "'c' and 'c\\+\\+' share the word 'c'"),
        ({"labels": ["a", "b"], "verbalizer": {"a": ["sci-fi"], "b": ["Sci fi"]}}, "share the word 'sci fi'"),
        ({"labels": ["a", "b"], "verbalizer": {"a": ["caf\u00e9"], "b": ["cafe\u0301"]}}, "share the word"),
        ({"labels": [True, False]}, "in YAML yes, no and numbers"),
        ({"labels": None}, "must be a list"),
        ({"labels": ["a", "b"], "templates": ["{text} is {label}"]}, "other slots"),
    ],
)
def test_bad_tasks(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Task(**given)


def test_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("labels: [bad, good]\nverbalizer: {good: [great]}\ntemplates: ['It was {label}.']\n")
    assert Task.from_yaml(file) == Task(["bad", "good"], {"good": ["great"]}, ["It was {label}."])
    for text, said in (
        ("labels: [a, b]\ntemplates: [a", r"line 2 is no YAML \(expected ',' or '\]'"),
        ("label: [a, b]", "is no task: it has an entry 'label'"),
        ("- a\n- b\n", "is no task: it has no entry 'labels'"),
        ("", "it has no entry 'labels'"),
        ("labels: [a, b]\nwords: {}\n", "it has an entry 'words'"),
        ("labels: [a, b]\nlabels: [c, d]\n", "line 1 has 'labels' twice"),
        ("labels: [a, b]\nverbalizer:\n  a: [x]\n  a: [y]\n", "line 3 has 'a' twice"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=rf"task\.yaml.*{said}"):
            Task.from_yaml(file)
    file.write_text("labels: [no, yes]")
    with pytest.raises(ConfigError, match=r"task\.yaml: labels must be a list of texts, got \[False, True\]"):
        Task.from_yaml(file)
