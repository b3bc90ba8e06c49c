"""Faults of a brand's folder: every one is told, with the file, the line and the key."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from adapter_samples import TO_Q, peft_tensors, write_model
from safetensors.numpy import save_file

from imagegen.errors import InvalidPreset
from imagegen.generation import GenerationRequest
from imagegen.model_sizes import SideLimits, side_limits
from imagegen.presets import PresetCatalog, check_presets
from imagegen.presets.files import read_words
from imagegen.presets.schema import BrandDefaults

GOOD = "name: Aurora\n"


def write_brand(folder: Path, text: str | bytes, brand: str = "aurora") -> Path:
    (folder / brand).mkdir(parents=True)
    (folder / brand / "preset.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / brand


def faults_of(folder: Path) -> list[str]:
    with pytest.raises(InvalidPreset) as caught:
        PresetCatalog.load(folder)
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).split("\n")]


PLACE = "must hold {prompt} exactly once, and no other {…}"
TAGS = "LoRA tags are not read; name the file under adapters"
OUTSIDE = "is not the name of a file in the brand's folder"
NAME = "^[a-z0-9][a-z0-9_-]{0,62}$"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            GOOD + 'palette:\n  - "#0b1d3a"\n  - "#12"\n',
            "4: palette[1]: '#12' is not a colour like #0b1d3a",
        ),
        ('palette: ["#0b1d3a"]\n', "1: name: is required"),
        ("name: ''\n", "1: name: must say something"),
        ("name: 12\n", "1: name: must be a text, not 12"),
        (GOOD + "colour: red\n", "2: colour: is not a known key"),
        (GOOD + "prompt:\n  tempalte: x\n", "3: prompt.tempalte: is not a known key"),
        (GOOD + "prompt: hello\n", "2: prompt: must be a table, not 'hello'"),
        (GOOD + "prompt: {template: no place}\n", "2: prompt.template: 'no place' " + PLACE),
        (
            GOOD + "prompt: {template: '{prompt} {prompt}'}\n",
            "2: prompt.template: '{prompt} {prompt}' " + PLACE,
        ),
        (
            GOOD + "prompt: {template: '{prompt} {product}'}\n",
            "2: prompt.template: '{prompt} {product}' " + PLACE,
        ),
        (GOOD + "prompt: {template: '<lora:x:1> {prompt}'}\n", "2: prompt.template: " + TAGS),
        (GOOD + "prompt: {negative: '<lora:x:1>'}\n", "2: prompt.negative: " + TAGS),
        (GOOD + "banned_terms: casino\n", "2: banned_terms: must be a list, not 'casino'"),
        (GOOD + "banned_terms: [no]\n", "2: banned_terms[0]: must be a text, not False"),
        (GOOD + "banned_terms: ['?!']\n", "2: banned_terms[0]: '?!' holds no letter or digit"),
        (
            GOOD + "defaults:\n  num_inference_steps: 101\n",
            "3: defaults.num_inference_steps: input should be less than or equal to 100, not 101",
        ),
        (
            GOOD + "defaults: {guidance_scale: .nan}\n",
            "2: defaults.guidance_scale: input should be a finite number, not nan",
        ),
        (GOOD + "defaults: {width: 64}\n", "2: defaults: width and height go together"),
        (
            GOOD + "defaults: {width: 64, height: 64, format: square}\n",
            "2: defaults: say either format or width and height, not both",
        ),
        (
            GOOD + "defaults: {format: poster}\n",
            "2: defaults.format: no format 'poster'; there are "
            "banner, landscape, portrait, square, story",
        ),
        (
            GOOD + "formats: {story: {width: 96, height: 161}}\n",
            "2: formats.story.height: input should be a multiple of 8, not 161",
        ),
        (
            GOOD + "formats: {STORY: {width: 96, height: 160}}\n",
            "2: formats.STORY: string should match pattern '" + NAME + "', not 'STORY'",
        ),
        (GOOD + "examples: [a mug, '']\n", "2: examples[1]: must say something"),
        (
            GOOD + "banned_terms: [casino]\nexamples: [a mug, the Casino]\n",
            "3: examples[1]: holds the banned term 'casino'",
        ),
        (
            GOOD + "adapters: [{file: a.safetensors}]\n",
            "2: adapters[0].file: a.safetensors: there is no such file",
        ),
        (
            GOOD + "adapters: [{file: ../a.safetensors}]\n",
            "2: adapters[0].file: '../a.safetensors' " + OUTSIDE,
        ),
        (
            GOOD + "adapters: [{file: /a.safetensors}]\n",
            "2: adapters[0].file: '/a.safetensors' " + OUTSIDE,
        ),
        (
            GOOD + 'adapters: [{file: "a\\0.safetensors"}]\n',
            "2: adapters[0].file: 'a\\x00.safetensors' " + OUTSIDE,
        ),
        (GOOD + "adapters:\n  - weight: 1\n", "3: adapters[0].file: is required"),
        (GOOD + "cover: gone.png\n", "2: cover: there is no file 'gone.png' in the brand's folder"),
        (GOOD + "cover: cover.svg\n", None),
        (GOOD + "cover: ../../cover.png\n", "2: cover: '../../cover.png' " + OUTSIDE),
        (GOOD + "name: again\n", "2: 'name' is said twice, first on line 1"),
        (GOOD + '"\\u001b[31m": 1\n', "2: \\x1b[31m: is not a known key"),
        ("", "1: must be a table that begins with name: …"),
        ("- name\n", "1: must be a table that begins with name: …"),
        ("[" * 60_000, "1: the file is nested too deep"),
    ],
)
def test_a_fault_is_told_with_its_line_and_key(tmp_path, text, fault):
    write_brand(tmp_path, text)
    faults = faults_of(tmp_path)
    if fault is None:
        assert faults[0].startswith("aurora/preset.yaml:2: cover: ")
        assert len(faults) == 2  # neither a picture nor there
    else:
        assert faults == [f"aurora/preset.yaml:{fault}"]


def test_all_faults_of_all_brands_are_told_in_order(tmp_path):
    write_brand(tmp_path, "name: A\nfoo: 1\npalette: [red]\ndefaults: {format: poster}\n")
    write_brand(tmp_path, "nam: B\n", "Bad Name")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "README.md").write_text("not a brand")
    faults = faults_of(tmp_path)
    assert [fault.split(": ")[0] for fault in faults] == [
        "Bad Name/preset.yaml:1",
        "Bad Name/preset.yaml:1",
        "Bad Name/preset.yaml:1",
        "aurora/preset.yaml:2",
        "aurora/preset.yaml:3",
        "empty/preset.yaml",
    ]
    assert "the folder's name 'Bad Name' must match" in faults[0]
    assert faults[-1] == "empty/preset.yaml: there is no such file; every folder of a brand has one"


def test_no_folder_and_an_empty_folder_are_faults(tmp_path):
    with pytest.raises(InvalidPreset, match="no such folder of brands"):
        PresetCatalog.load(tmp_path / "gone")
    with pytest.raises(InvalidPreset, match="holds no brand"):
        PresetCatalog.load(tmp_path)


@pytest.mark.parametrize("name", ["a.bin", "a.pt", "a.ckpt", "a.safetensors.bak", "a"])
def test_only_safetensors_are_taken(tmp_path, name):
    brand = write_brand(tmp_path, GOOD + f"adapters: [{{file: {name}}}]\n")
    save_file(peft_tensors(), brand / name)
    [fault] = faults_of(tmp_path)
    assert "is not a .safetensors file" in fault


def test_a_renamed_pickle_is_refused(tmp_path):
    brand = write_brand(tmp_path, GOOD + "adapters: [{file: a.safetensors}]\n")
    (brand / "a.safetensors").write_bytes(b"PK\x03\x04" + b"\0" * 99)
    [fault] = faults_of(tmp_path)
    assert fault.startswith("aurora/preset.yaml:2: adapters[0].file: a.safetensors: this is a pick")


@pytest.mark.parametrize("named", ["file", "cover", "preset"])
def test_links_out_of_the_folder_are_refused(tmp_path, named):
    outside = tmp_path / "outside"
    save_file(peft_tensors(), outside)
    brands = tmp_path / "brands"
    if named == "preset":
        outside.write_text(GOOD)
        (brands / "aurora").mkdir(parents=True)
        (brands / "aurora" / "preset.yaml").symlink_to(outside)
    else:
        said = "adapters: [{file: x.safetensors}]" if named == "file" else "cover: x.png"
        brand = write_brand(brands, f"{GOOD}{said}\n")
        (brand / ("x.safetensors" if named == "file" else "x.png")).symlink_to(outside)
    [fault] = faults_of(brands)
    assert "leaves the brand's folder" in fault


@pytest.mark.parametrize("said", ["", "cover: cover.png\n"])
def test_a_cover_is_a_picture(tmp_path, said):
    brand = write_brand(tmp_path, GOOD + said)
    (brand / "cover.png").write_text("drawn soon")
    [fault] = faults_of(tmp_path)
    assert fault.endswith("is no PNG, JPEG or WebP picture")


def test_a_lora_is_looked_into_whatever_the_model(tmp_path):
    brand = write_brand(tmp_path, GOOD + "adapters: [{file: a.safetensors}]\n")
    tensors = peft_tensors()
    spoilt = next(iter(tensors))
    tensors[spoilt][...] = np.nan
    save_file(tensors, brand / "a.safetensors")
    [fault] = faults_of(tmp_path)
    assert fault.startswith("aurora/preset.yaml:2: adapters[0].file: a.safetensors: values that")
    assert spoilt in fault


def test_a_pipe_is_not_waited_for(tmp_path):
    brand = write_brand(tmp_path, GOOD + "adapters: [{file: a.safetensors}]\n")
    os.mkfifo(brand / "a.safetensors")
    [fault] = faults_of(tmp_path)
    assert "there is no such file" in fault


def test_a_cover_found_by_its_name_may_not_be_a_link_out(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    brand = write_brand(tmp_path / "brands", GOOD)
    (brand / "cover.png").symlink_to(tmp_path / "secret.png")
    [preset] = PresetCatalog.load(tmp_path / "brands")
    assert preset.cover is None


def test_a_circle_of_links_is_a_fault(tmp_path):
    brand = write_brand(tmp_path, GOOD + "adapters: [{file: x.safetensors}]\n")
    (brand / "x.safetensors").symlink_to(brand / "x.safetensors")
    assert len(faults_of(tmp_path)) == 1


def test_a_links_target_within_the_folder_is_fine(tmp_path):
    brand = write_brand(tmp_path, GOOD + "adapters: [{file: x.safetensors}]\n")
    save_file(peft_tensors(), brand / "y")
    (brand / "x.safetensors").symlink_to("y")
    assert len(PresetCatalog.load(tmp_path).get("aurora").adapters) == 1


def test_another_file_than_the_one_named_is_refused(tmp_path):
    brand = write_brand(
        tmp_path, f"{GOOD}adapters:\n  - file: a.safetensors\n    sha256: {'f' * 64}\n"
    )
    save_file(peft_tensors(), brand / "a.safetensors")
    [fault] = faults_of(tmp_path)
    assert fault.startswith("aurora/preset.yaml:4: adapters[0].sha256: a.safetensors is another")
    right = fault.rsplit(" ", 1)[1]
    text = (brand / "preset.yaml").read_text().replace("f" * 64, right)
    (brand / "preset.yaml").write_text(text)
    assert PresetCatalog.load(tmp_path).get("aurora").adapters[0].sha256 == right


def test_one_adapter_is_named_once(tmp_path):
    text = "adapters: [{file: a.safetensors}, {file: a.safetensors, weight: 0.5}]\n"
    save_file(peft_tensors(), write_brand(tmp_path, GOOD + text) / "a.safetensors")
    assert "'a.safetensors' is named twice" in faults_of(tmp_path)[0]


FULL = """\
name: Aurora
prompt: {template: "aurora style, {prompt}"}
adapters: [{file: a.safetensors, weight: 1}]
palette: ["#0B1D3A"]
"""


def version_of(folder: Path) -> str:
    [preset] = PresetCatalog.load(folder)
    return preset.version


def test_the_version_changes_with_any_value_and_any_adapter_byte(tmp_path):
    brand = write_brand(tmp_path, FULL)
    save_file(peft_tensors(), brand / "a.safetensors")
    versions = [version_of(tmp_path)]
    assert versions[0].startswith("sha256:")
    assert len(versions[0]) == 71
    comment = "# a comment\n" + FULL.replace("weight: 1}", "weight: 1.0}").replace(
        "0B1D3A", "0b1d3a"
    )
    (brand / "preset.yaml").write_text(comment)
    assert version_of(tmp_path) == versions[0]  # the same said otherwise
    for old, new in (("weight: 1", "weight: 0.9"), ("style,", "style"), ("0B", "0C"), ("Au", "Ar")):
        (brand / "preset.yaml").write_text(FULL.replace(old, new))
        versions.append(version_of(tmp_path))
    (brand / "preset.yaml").write_text(FULL)
    save_file(peft_tensors(), brand / "a.safetensors", {"note": "x"})
    versions.append(version_of(tmp_path))
    assert len(set(versions)) == len(versions)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def test_check_adds_what_the_model_says(tmp_path, model):
    brand = write_brand(tmp_path, FULL)
    save_file(peft_tensors(), brand / "a.safetensors")
    assert check_presets(tmp_path, model) == []
    key = f"unet.{TO_Q}.lora_A.weight"
    save_file(peft_tensors() | {key: np.ones((2, 9), np.float32)}, brand / "a.safetensors")
    assert len(PresetCatalog.load(tmp_path)) == 1  # right by itself
    [fault] = check_presets(tmp_path, model)
    where = f"{brand}/preset.yaml:3: adapters[0].file: a.safetensors: "
    assert fault.startswith(f"{where}made for another architecture: {key} [2, 9]")


def test_check_tells_adapter_faults_beside_schema_faults(tmp_path, model):
    brand = write_brand(tmp_path, FULL.replace("#0B1D3A", "#12"))
    save_file({"nowhere.lora_A.weight": np.ones((2, 2), np.float32)}, brand / "a.safetensors")
    faults = check_presets(tmp_path, model)
    assert ["land nowhere" in faults[0], "is not a colour" in faults[1]] == [True, True]


def test_check_without_a_model_still_checks_the_brands(tmp_path):
    write_brand(tmp_path, FULL)
    faults = check_presets(tmp_path, tmp_path / "no-model")
    assert "no *.safetensors in this folder" in faults[0]
    assert "there is no such file" in faults[1]


def write_config(model: Path, sample_size: object = 32) -> Path:
    for part, config in (
        ("unet", {"sample_size": sample_size}),
        ("vae", {"block_out_channels": [8, 8, 8, 8]}),
    ):
        (model / part).mkdir(exist_ok=True)
        (model / part / "config.json").write_text(json.dumps(config))
    return model


def test_check_refuses_sizes_that_the_model_does_not_draw(tmp_path):
    """Half to twice its native 256: also at the start, with the line of the side at fault."""
    model = write_config(write_model(tmp_path / "model"))
    brand = write_brand(
        tmp_path / "brands",
        GOOD + "defaults:\n  width: 128\n  height: 120\n"
        "formats:\n  fine: {width: 128, height: 512}\n  tall:\n    width: 64\n    height: 520\n",
    )
    draws = "this model draws 128 to 512 pixels a side, not"
    faults = check_presets(tmp_path / "brands", model)
    assert [fault.removeprefix(f"{brand}/preset.yaml:") for fault in faults] == [
        f"4: defaults.height: {draws} 120",
        f"8: formats.tall.width: {draws} 64",
        f"9: formats.tall.height: {draws} 520",
    ]
    with pytest.raises(InvalidPreset, match=r"preset\.yaml:4: defaults\.height: this model"):
        PresetCatalog.load(tmp_path / "brands", model)
    assert len(PresetCatalog.load(tmp_path / "brands")) == 1  # nobody knows the model


@pytest.mark.parametrize(
    ("sample_size", "limits"),
    [(32, SideLimits(128, 512)), ([40, 33], SideLimits(136, 528)), (None, None), ("x", None)],
)
def test_a_models_sizes_are_read_from_its_configuration(tmp_path, sample_size, limits):
    assert side_limits(write_config(tmp_path, sample_size)) == limits
    (tmp_path / "vae" / "config.json").unlink()
    assert side_limits(tmp_path) is None


@pytest.mark.parametrize("field", sorted(BrandDefaults.model_fields))
def test_defaults_have_the_bounds_of_requests(field):
    def bounds(model: type) -> str:
        said = dict(model.model_json_schema()["properties"][field])
        said.pop("description", None)
        return str(said)

    assert bounds(BrandDefaults) == bounds(GenerationRequest)


def test_a_brands_words_can_be_read_before_its_lora_is_trained(tmp_path: Path) -> None:
    text = GOOD + "adapters: [{file: later.safetensors}]\nprompt: {template: 'ours, {prompt}'}\n"
    brand = write_brand(tmp_path, text)
    assert read_words(brand).prompt.template == "ours, {prompt}"
    assert "later.safetensors: there is no such file" in faults_of(tmp_path)[0]
    (brand / "preset.yaml").write_text(text + "palette: [red]\ncolour: red\n")
    with pytest.raises(InvalidPreset) as caught:
        read_words(brand)
    assert [line.split(": ")[1] for line in str(caught.value).split("\n")] == [
        "palette[0]",
        "colour",
    ]
