"""The conformance suite over every registered format."""

import pytest

from imagemill.formats import FORMATS, Format
from imagemill.testing.formats import FormatConformance


class TestRegisteredFormats(FormatConformance):
    @pytest.fixture(params=list(FORMATS))
    def format(self, request: pytest.FixtureRequest) -> Format:
        return FORMATS.get(request.param)
