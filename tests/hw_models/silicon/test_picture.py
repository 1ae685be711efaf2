"""The picture in the documentation is that of the model."""

import measured_chips

from hw_models.silicon.measured import known_chips, load_chip
from hw_models.silicon.validation import validate


def test_the_picture_is_up_to_date_and_shows_every_point():
    validations = [validate(load_chip(name)) for name in known_chips()]
    picture = measured_chips.draw(validations)
    assert measured_chips.PICTURE.read_text() == picture, "python docs/measured_chips.py draws it"
    for v in validations:
        assert f">{v.chip.name}, " in picture
