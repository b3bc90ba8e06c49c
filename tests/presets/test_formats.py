import pytest

from imagegen.presets.formats import BUILT_IN_NAMES, built_in_formats


@pytest.mark.parametrize("native_px", [64, 128, 256, 512, 768, 1024])
def test_formats_keep_the_models_area_and_multiples(native_px):
    formats = built_in_formats(native_px)
    assert tuple(formats) == BUILT_IN_NAMES
    assert formats["square"] == (native_px, native_px)
    unit = 64 if native_px >= 512 else 8
    for width, height in formats.values():
        assert width % unit == height % unit == 0
        assert width * height == pytest.approx(native_px**2, rel=0.15)


def test_shapes_are_what_their_names_say():
    assert built_in_formats(512) == {
        "square": (512, 512),
        "portrait": (448, 576),
        "story": (384, 704),
        "landscape": (704, 384),
        "banner": (896, 320),
    }
