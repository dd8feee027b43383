"""What a task is given where the user leaves it open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagemill.errors import ConfigError
from imagemill.networks import create_network
from imagemill.training.data import Fields
from imagemill.training.options import TrainOptions
from imagemill.training.plan import Nature, check_wishes, plan_models
from imagemill.training.suited import COLOUR_LOSS, COLOURISING, IMAGE_LOSS, PALETTE_LOSS, suited_loss

GREY_TO_COLOUR = Nature(before_grey=True, after_grey=False, luma_kept=True, size=(64, 48))
COLOUR = Nature(before_grey=False, after_grey=False, luma_kept=False, size=(64, 48))


def options_for(nature: Nature, **given: object) -> dict[str, object]:
    (spec,) = plan_models(TrainOptions(**given), nature, "", Fields("before", "after"))
    colours = {**COLOUR_LOSS, **PALETTE_LOSS} if spec.options.get("palette") else COLOUR_LOSS
    assert suited_loss(spec) == (colours if spec.in_channels < spec.out_channels else IMAGE_LOSS)
    return dict(spec.options)


def test_colour_is_guessed_with_context_from_the_table() -> None:
    options = options_for(GREY_TO_COLOUR)
    assert options.items() >= {**COLOURISING, "start": "table", "in_channels": 1, "out_channels": 2}.items()
    assert sum(weight.numel() for weight in create_network(**options).parameters()) < 1_000_000


def test_likely_colours_are_learnt_where_nothing_else_is_asked_for() -> None:
    assert options_for(GREY_TO_COLOUR)["palette"]
    assert options_for(GREY_TO_COLOUR, loss={"l1": 1.0, "palette": 1.0})["palette"]
    assert not options_for(GREY_TO_COLOUR, loss={"l1": 1.0})["palette"]
    assert not options_for(GREY_TO_COLOUR, colour="rgb").get("palette")
    (spec,) = plan_models(
        TrainOptions(loss={"l1": 1.0}, network_options={"palette": True}), GREY_TO_COLOUR, "", Fields("before", "after")
    )
    with pytest.raises(ConfigError, match=r"add \+0.1\*palette"):
        check_wishes(spec, TrainOptions(loss={"l1": 1.0}))
    with pytest.raises(ConfigError, match="loss 'palette' says nothing"):
        check_wishes(replace(spec, options={}), TrainOptions(loss={"palette": 1.0}))


def test_what_the_user_says_comes_first() -> None:
    assert options_for(GREY_TO_COLOUR, network_options={"context": 0, "patch": 2})["context"] == 0


@pytest.mark.parametrize("given", [{"noise": 25.0}, {"scale": 2}, {"direction": "after-to-before"}])
def test_other_tasks_need_no_context(given: dict[str, object]) -> None:
    nature = GREY_TO_COLOUR if "direction" in given else COLOUR
    assert not options_for(nature, **given).get("context")


def test_the_networks_of_the_original_are_left_as_they_are() -> None:
    assert options_for(GREY_TO_COLOUR, network="unet").keys() <= {"variant", "in_channels", "out_channels"}
