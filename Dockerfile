# One image for workers and dashboard (docs/workers.md). ARG lines are its build arguments.
# A Debian with Python 3.11 or later.
ARG BASE=python:3.11-slim
FROM ${BASE}

# Neurons are compiled where they run, for that processor.
RUN command -v g++ || (apt-get update \
    && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*)

# Files that are mounted must be this user's, such as the one with the store's URL.
ARG NAS_UID=1000
RUN useradd --uid "${NAS_UID}" --create-home nas \
    && install -d -o nas -g nas -m 700 /artifacts /cache && install -d /data

# pip's own settings, if given: where packages are.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_NO_INDEX
# Which build of torch: the registry's own knows CUDA, torch==2.13.0+cpu is smaller.
ARG TORCH=torch
WORKDIR /app
COPY constraints.txt ./
RUN python3 -m venv /opt/nas \
    && /opt/nas/bin/pip install --no-cache-dir --constraint constraints.txt "${TORCH}"
COPY pyproject.toml README.md LICENSE ./
COPY hw_models hw_models
COPY nas_service nas_service
RUN /opt/nas/bin/pip install --no-cache-dir --constraint constraints.txt .
COPY studies studies

ENV PATH=/opt/nas/bin:$PATH NAS_DATA=/data NAS_ARTIFACTS=/artifacts NAS_CACHE=/cache \
    OMP_NUM_THREADS=1
USER nas
ENTRYPOINT ["nas"]
