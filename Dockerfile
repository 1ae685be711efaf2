# One image for workers and dashboard (CPU).
FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY hw_models hw_models
COPY nas_service nas_service
RUN pip install --no-cache-dir --constraint constraints.txt .
COPY studies studies
RUN useradd --create-home nas
USER nas
ENTRYPOINT ["nas"]
