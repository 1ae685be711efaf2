"""Inner rooms never import outer ones, no imports form a circle, and the picture is up to date."""

import architecture
import pytest

ORDER = [room for room, _ in architecture.RINGS]


@pytest.fixture(scope="module")
def graph():
    return architecture.import_graph()


def test_every_room_has_its_place(graph):
    assert architecture.room_graph(graph).keys() <= set(ORDER)


def test_rooms_import_only_inner_rooms(graph):
    height = ORDER.index
    outward = {
        f"{module} imports {other}"
        for module, imported in graph.items()
        for other in imported
        if height(architecture.room_of(other)) > height(architecture.room_of(module))
    }
    assert outward == set()


def test_no_imports_form_a_circle(graph):
    assert architecture.circle(graph) == []


def test_a_circle_and_an_outward_import_would_be_noticed(graph):
    assert set(architecture.circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
    assert "hw_models" in graph["hw_models.profile"] | graph["nas_service.metrics"]


def test_the_sampler_knows_nothing_of_the_project(graph):
    inside = "nas_service.samplers.greybox."
    for module, imported in graph.items():
        if f"{module}.".startswith(inside):
            assert [other for other in imported if not f"{other}.".startswith(inside)] == []


def test_the_picture_shows_the_code_as_it_is(graph):
    """`python docs/architecture.py` draws it anew."""
    assert architecture.PICTURE.read_text() == architecture.draw(graph)
