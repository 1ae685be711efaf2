"""What `import nas_service` gives."""

import nas_service
import nas_service.searches.creation
import nas_service.worker.worker


def test_a_search_can_be_called_whatever_is_imported():
    """No module of ours takes the name of the function."""
    assert callable(nas_service.search)
