"""What the service says about options that it does not understand, with no value of the request in it."""

from collections.abc import Mapping

import pytest
from pydantic import BaseModel

from service.api.options import parse
from service.api.schemas import DenoiseOptions, EvaluateOptions, NoiseOptions
from service.api.upload import RawUpload
from service.errors import InvalidParameter

MARKER = "Zx9Secret"


def refusal(options: type[BaseModel], fields: Mapping[str, str]) -> tuple[str, object]:
    with pytest.raises(InvalidParameter) as caught:
        parse(options, fields)
    return caught.value.detail, caught.value.members["parameters"]


@pytest.mark.parametrize(
    ("options", "name", "rule"),
    [
        (DenoiseOptions, "sigma", "a number of at least 0 or auto"),
        (DenoiseOptions, "model", "auto, n3unet, n3net, photo, dncnn or nlm"),
        (DenoiseOptions, "color", "gray or rgb"),
        (DenoiseOptions, "strength", "a number from 0 to 1"),
        (DenoiseOptions, "luma_strength", "a number from 0 to 1"),
        (DenoiseOptions, "chroma_strength", "a number from 0 to 1"),
        (DenoiseOptions, "detail", "a number from 0 to 1"),
        (DenoiseOptions, "ensemble", "true or false"),
        (DenoiseOptions, "format", "png, jpeg, webp, avif, tiff or bmp"),
        (DenoiseOptions, "depth", "8, 16 or float"),
        (DenoiseOptions, "metadata", "no-gps, keep or strip"),
        (EvaluateOptions, "sigma", "a number above 0"),
        (EvaluateOptions, "seed", "a whole number from 0 to 9223372036854775807"),
        (NoiseOptions, "color", "gray or rgb"),
    ],
)
def test_an_error_says_what_an_option_may_be(options: type[BaseModel], name: str, rule: str) -> None:
    assert refusal(options, {name: MARKER}) == (f"{name} must be {rule}.", [name])


def test_every_option_has_a_rule() -> None:
    for options in (DenoiseOptions, EvaluateOptions, NoiseOptions):
        detail, names = refusal(options, dict.fromkeys(options.model_fields, MARKER))
        assert names == list(options.model_fields)
        assert MARKER not in detail


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "", "1_0", "1\n", " 1", "-0", "+1", "0x1", "١", "1e", "."])
def test_numbers_out_of_range_get_the_range(value: str) -> None:
    assert refusal(DenoiseOptions, {"strength": value})[0] == "strength must be a number from 0 to 1."
    assert refusal(DenoiseOptions, {"sigma": value})[0] == "sigma must be a number of at least 0 or auto."
    assert refusal(EvaluateOptions, {"sigma": value})[0] == "sigma must be a number above 0."
    assert refusal(EvaluateOptions, {"seed": value})[0].startswith("seed must be a whole number from 0 to ")


@pytest.mark.parametrize(("value", "number"), [("25", 25), ("25.5", 25.5), (".5", 0.5), ("25.", 25), ("2.5E+1", 25), ("0", 0)])
def test_numbers_are_read_as_usual(value: str, number: float) -> None:
    assert parse(DenoiseOptions, {"sigma": value}).sigma == number


def test_an_unknown_option_is_named_beside_the_known_ones() -> None:
    detail, names = refusal(DenoiseOptions, {"sgima": MARKER, "kolor": MARKER, "strength": MARKER})
    assert detail == (
        "strength must be a number from 0 to 1. Unknown option: kolor, sgima. "
        "The options are sigma, noise, gain, read_noise, model, color, strength, luma_strength, chroma_strength, detail, "
        "ensemble, format, depth, noise_map and metadata."
    )
    assert names == ["strength", "kolor", "sgima"]
    assert refusal(NoiseOptions, {"sigma": "25"}) == ("Unknown option: sigma. The options are color and noise_map.", ["sigma"])


@pytest.mark.parametrize("name", ["a" * 41, "<script>", "a b", "a\n", "é", ""])
def test_an_unknown_option_that_is_long_or_odd_is_not_named(name: str) -> None:
    detail, names = refusal(NoiseOptions, {name: "1"})
    assert (detail, names) == ("An option is unknown. The options are color and noise_map.", [])


@pytest.mark.parametrize(("given", "meant"), [("jpg", "jpeg"), ("tif", "tiff"), ("png", "png")])
def test_the_usual_short_names_of_formats_are_understood(given: str, meant: str) -> None:
    assert parse(DenoiseOptions, {"format": given}).format == meant


def test_an_option_given_twice_is_named_if_its_name_is_plain() -> None:
    query = (("sigma", MARKER), ("sigma", MARKER), ("<b>", MARKER), ("<b>", MARKER), ("model", "nlm"))
    with pytest.raises(InvalidParameter) as caught:
        RawUpload(b"image", "", query, 4).parse()
    assert caught.value.members["parameters"] == ["sigma"]
    assert MARKER not in caught.value.detail
