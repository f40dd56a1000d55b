from __future__ import annotations

import re
from importlib.resources import files

import pytest
import torch

import pellucid
from pellucid import registry
from pellucid.core.cite import bibtex, references
from pellucid.core.errors import InputError, ParameterError


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(.+),$", text, re.MULTILINE)


@pytest.mark.parametrize("name", registry.names())
def test_every_paper_that_a_method_names_is_in_the_bibliography(name):
    about = registry.find(name).about
    if not registry.find(name).__module__.startswith("pellucid."):
        pytest.skip("a method defined by another test")
    assert about.cite
    assert set(about.cite) <= set(references())


def test_every_entry_of_the_file_is_found_once():
    text = files("pellucid.core").joinpath("references.bib").read_text("utf-8")
    assert keys(text) == list(references())
    assert len(set(keys(text))) == text.count("\n@")


@pytest.mark.parametrize("key", references())
def test_an_entry_is_whole(key):
    entry = references()[key]
    fields = dict(re.findall(r"^  (\w+)\s*= \{(.*)\},$", entry, re.MULTILINE))
    assert {"author", "title", "year"} <= set(fields)
    assert {"booktitle", "journal", "eprint"} & set(fields)
    assert entry.count("{") == entry.count("}")
    assert re.fullmatch(r"[a-z]+(19|20)\d\d[a-z0-9]+", key) and fields["year"] in key
    surname = fields["author"].partition(",")[0].lower()
    assert key.startswith(re.sub(r"[^a-z]", "", surname))


def test_what_was_used_is_cited_once_each():
    rows = torch.rand(1, 3, 8, 8)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 3))
    them = pellucid.explain(net, rows, "grad_cam,guided_grad_cam,smooth_grad")
    assert keys(pellucid.cite(them)) == ["selvaraju2017grad", "smilkov2017smoothgrad", "hooker2019benchmark"]
    assert keys(pellucid.cite(them[0])) == ["selvaraju2017grad"]
    assert pellucid.cite(list(them)) == pellucid.cite(them)


def test_a_method_that_wraps_another_is_cited_with_it():
    wrapped = registry.make("smooth", {"method": registry.make("grad_cam"), "samples": 2})
    assert keys(pellucid.cite(wrapped)) == ["smilkov2017smoothgrad", "selvaraju2017grad"]
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 3))
    assert pellucid.cite(pellucid.explain(net, torch.rand(1, 3, 8, 8), wrapped)) == pellucid.cite(wrapped)


def test_methods_are_cited_by_name_group_class_and_instance():
    cls = registry.find("grad_cam")
    assert pellucid.cite("grad_cam") == pellucid.cite(cls) == pellucid.cite(cls()) == pellucid.cite(["Grad-CAM"])
    assert keys(pellucid.cite("ig, gb"))[0] == "sundararajan2017axiomatic"
    assert len(keys(pellucid.cite("cams"))) == 5
    assert pellucid.cite([]) == ""


def test_what_cannot_be_cited_is_refused():
    with pytest.raises(ParameterError, match="grad_cam"):
        pellucid.cite("grd_cam")
    with pytest.raises(InputError, match="int"):
        pellucid.cite(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="sundararajan2017axiomatic"):
        bibtex(["sundararajan2017axiom"])
