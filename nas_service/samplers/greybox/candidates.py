"""Candidates and observations as arrays. N candidates, n observations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from .gaussian_process import Features

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Index = Ints | NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates with their features and costs."""

    features: Features
    costs: Mapping[str, Floats]  # metric -> [N]: exact, or an estimate of a learned metric

    def __len__(self) -> int:
        return len(self.features)

    def scored(self, scores: Floats) -> "Candidates":
        """The same candidates with measured scores [N, S], standardised."""
        return Candidates(replace(self.features, measured=scores), self.costs)

    def take(self, index: Index) -> "Candidates":
        """Some of the candidates."""
        costs = {name: values[index] for name, values in self.costs.items()}
        return Candidates(self.features.take(index), costs)

    @classmethod
    def join(cls, parts: "Sequence[Candidates]") -> "Candidates":
        """All candidates of several lists with the same costs and features."""
        costs = {name: np.concatenate([p.costs[name] for p in parts]) for name in parts[0].costs}
        return cls(Features.join([p.features for p in parts]), costs)


@dataclass(frozen=True, eq=False)
class Observations:
    """Trained candidates with their results; nan where a metric is unknown."""

    candidates: Candidates
    values: Mapping[str, Floats]  # learned metric -> [n]
    contexts: Ints  # [n] 0: this search at full fidelity

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def metrics(self) -> dict[str, Floats]:
        """Every known metric: costs, and learned ones, each [n]."""
        return {**self.candidates.costs, **self.values}

    def take(self, index: Index) -> "Observations":
        """Some of the observations."""
        values = {name: column[index] for name, column in self.values.items()}
        return Observations(self.candidates.take(index), values, self.contexts[index])

    def joined(self, candidates: Candidates, values: Mapping[str, Floats]) -> "Observations":
        """These observations, and further ones of context 0.

        Args:
            candidates: Further candidates [m].
            values: learned metric -> their values [m].

        Returns:
            All observations [n + m].
        """
        contexts = np.concatenate([self.contexts, np.zeros(len(candidates), dtype=np.intp)])
        columns = {name: np.concatenate([self.values[name], new]) for name, new in values.items()}
        return Observations(Candidates.join([self.candidates, candidates]), columns, contexts)

    @property
    def digest(self) -> bytes:
        """Equal for equal observations."""
        features = self.candidates.features
        arrays = (
            *(features.numbers, features.kinds, features.details, features.score),
            features.measured,
            *self.candidates.costs.values(),
            *self.values.values(),
            self.contexts,
        )
        digest = blake2b(digest_size=16)
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.digest()
