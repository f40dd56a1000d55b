"""Texts on the command line: in quotes, in files and folders; what a model cannot read is refused, cuts are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import TINY, Run
from tests.unit.texts import bert

READER = "tests.unit.cli.tiny:reader"
NEVER = "tests.unit.cli.tiny:never"
GREAT, LONG = "a great film", "the film " * 10


@pytest.fixture
def review(tmp_path: Path) -> Path:
    path = tmp_path / "review.txt"
    path.write_bytes("\ufeffthe film was\n\nvery terrib ##ly good\n".encode())
    return path


def test_a_text_in_quotes_and_one_in_a_file(run: Run, review: Path, tmp_path: Path) -> None:
    done = run("explain", READER, GREAT, review, "--json", "-o", tmp_path / "out")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert [e["method"] for e in found["explanations"]] == ["integrated_gradients", "input_x_gradient"]
    first, second = found["explanations"][1]["texts"]
    assert (first["text"], second["text"]) == (GREAT, "the film was very terrib ##ly good")
    assert [t["token"] for t in first["tokens"]] == ["[CLS]", "a", "great", "film", "[SEP]"]
    assert all(isinstance(t["value"], float) for t in first["tokens"])
    assert [p["text"] for p in found["models"][0]["predictions"]] == [GREAT, second["text"]]
    assert "photo" not in (tmp_path / "out" / "report.html").read_text().partition("<h1>")[2].partition("</h1>")[0]
    maps = sorted((tmp_path / "out" / "maps").iterdir())
    assert len(maps) == 4 and maps[0].name.startswith("a-great-film--")


def test_pictures_of_texts_can_be_read(run: Run, tmp_path: Path) -> None:
    from PIL import Image

    run("explain", READER, GREAT, "-m", "gradient", "-o", tmp_path / "out")
    (path,) = (tmp_path / "out" / "maps").iterdir()
    with Image.open(path) as image:
        assert image.width > 600 and image.height > 60


def test_a_folder_gives_its_text_files(run: Run, review: Path, tmp_path: Path) -> None:
    (tmp_path / "another.TXT").write_text(GREAT)
    (tmp_path / "notes.md").write_text("no text")
    done = run("explain", READER, tmp_path, "-m", "gradient", "--json")
    texts = json.loads(done.stdout)["explanations"][0]["texts"]
    assert [t["text"] for t in texts] == [GREAT, "the film was very terrib ##ly good"]


def test_the_words_of_a_terminal_speak_of_texts(run: Run, tmp_path: Path) -> None:
    many = [f"{GREAT} {'very ' * n}good" for n in range(8)]
    done = run("explain", READER, *many, GREAT, "-m", "lrp", "-o", tmp_path / "out")
    assert "… and 1 more texts" in done.stdout or "… and 1 more text" in done.stdout
    assert "relevance not at the input" in done.stdout and "conservation" not in done.stdout
    told = run("info", tmp_path / "out").stdout
    assert "texts" in told and "images" not in told and "photo" not in told
    planned = run("plan", READER, GREAT).stdout
    assert "image" not in planned and "1 text" in planned


def test_cuts_are_told_whatever_else_is_silent(run: Run) -> None:
    for command in ("explain", "plan", "audit"):
        done = run(command, READER, LONG, "-q")
        assert done.exit_code == 0 and "cut to 12 of 22 tokens" in done.stderr and "left out" in done.stderr


def test_what_cannot_be_read_does_not_stop_the_rest(run: Run, review: Path, tmp_path: Path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "blank.txt").write_text(" \n")
    done = run("explain", READER, tmp_path, "-m", "gradient", "--json")
    assert done.exit_code == 3 and "2 texts could not be read" in done.stderr
    failed = json.loads(done.stdout)["failed"]
    assert "holds no text" in failed[0] and "UTF-8" in failed[1]


def test_audits_and_labels(run: Run) -> None:
    done = run("audit", READER, GREAT, "--json")
    assert json.loads(done.stdout)["relevance_at_input"] is not None
    assert run("labels", "-M", READER).stdout.split() == ["0", "bad", "1", "so", "so", "2", "good"]


def test_layers_of_texts_have_no_places(run: Run) -> None:
    done = run("layers", READER)
    assert done.exit_code == 1 and "none of its layers has height and width" in done.stderr


def test_models_of_texts_beside_each_other(run: Run) -> None:
    done = run("compare", "-M", READER, "-M", READER, GREAT, "-m", "gradient", "--json")
    assert [m["name"] for m in json.loads(done.stdout)["models"]] == ["reader", "reader (2)"]


def test_what_is_in_a_text_file(run: Run, review: Path) -> None:
    assert "7 words" in run("info", review).stdout
    assert json.loads(run("info", review, "--json").stdout)["text"]["words"] == 7


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([READER, ""], "an empty text"),
        ([READER, "  "], "an empty text"),
        ([READER, "{folder}/cat.png"], "is a picture, and reader reads texts"),
        ([READER, "{folder}/notes.md"], "let its name end in .txt"),
        ([READER, "{folder}"], "folder without .txt files"),
        ([READER, "{folder}/blank.txt"], "holds no text"),
        ([TINY, "a great film"], "is no file, and tiny takes pictures"),
        ([TINY, "{folder}/blank.txt"], "is a text, and tiny takes pictures"),
        ([TINY, GREAT * 100], "is no file, and tiny takes pictures"),
        ([NEVER, "{folder}/balnk.txt"], "blank.txt"),
        ([NEVER, "cta.png"], "cta.png"),
        (["-M", TINY, "-M", READER, GREAT], "models of pictures beside models of texts"),
        ([READER, GREAT, "-m", "grad_cam"], "height and width"),
        ([READER, GREAT, "-m", "occlusion"], ""),
        ([READER, GREAT, "-t", "goood"], "'good'"),
    ],
)
def test_wrong_inputs_are_refused_with_the_way_out(run: Run, photos: Path, words: list[str], told: str) -> None:
    folder = photos.parent / "texts"
    folder.mkdir()
    (folder / "cat.png").write_bytes((photos / "cat.png").read_bytes())
    (folder / "notes.md").write_text("words")
    if not words[1].endswith("{folder}"):
        (folder / "blank.txt").write_text("\n")
    verb = "compare" if words[0] == "-M" else "explain"
    done = run(verb, *(word.format(folder=folder) for word in words))
    assert done.exit_code == 1 and told in done.stderr and "Traceback" not in done.stderr


def test_a_hugging_face_folder(run: Run, tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    done = run("explain", f"hf:{folder}", "the film was terribly good.", "-t", "good", "-m", "lrp,generic_attention")
    assert done.exit_code == 0 and "why good" in done.stdout
    assert run("explain", f"hf:{folder}", "a great film " * 20, "-m", "gradient").stderr.count("cut to 24 of 62") == 1


def test_a_function_of_strings_reads_texts_too(run: Run, review: Path, tmp_path: Path) -> None:
    done = run("explain", "tests.unit.cli.tiny:counted", GREAT, review, "--json", "-o", tmp_path / "out")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert [e["method"] for e in found["explanations"]] == ["lime", "kernel_shap"]
    values = {t["token"]: t["value"] for t in found["explanations"][1]["texts"][0]["tokens"]}
    assert values["great"] > 0.1 and abs(values["film"]) < 1e-6
    refused = run("layers", "tests.unit.cli.tiny:counted")
    assert refused.exit_code and "reads texts" in refused.stderr


def test_a_factory_may_give_a_pipeline(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = pytest.importorskip("transformers")
    folder = bert(tmp_path / "bert")
    (tmp_path / "of_mine.py").write_text(
        "import transformers\n"
        f"where = {str(folder)!r}\n"
        "def made():\n"
        "    model = transformers.AutoModelForSequenceClassification.from_pretrained(where)\n"
        "    tokenizer = transformers.AutoTokenizer.from_pretrained(where)\n"
        "    return transformers.pipeline('text-classification', model=model, tokenizer=tokenizer)\n"
        "ready = made()\n"
    )
    assert hub
    monkeypatch.syspath_prepend(str(tmp_path))
    for word in ("of_mine:made", "of_mine:ready"):
        done = run("explain", word, GREAT, "-m", "lime", "--param", "lime.samples=16", "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["explanations"][0]["texts"][0]["text"] == GREAT
