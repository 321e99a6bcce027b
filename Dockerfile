# TrickBench with all packages. docs/install.md shows how to build and run it.
#   docker build -t trickbench .
#   docker run --rm --gpus all --ipc=host -v "$PWD/data:/data" -v "$PWD/runs:/runs" trickbench run mini
FROM python:3.11-slim

# OpenCV's wheel, which mmengine asks for, needs the libraries of GL and GLib.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/trickbench

# The packages take gigabytes and change rarely: this layer needs only the files that decide them, and is reused
# when the code changes. --build-arg chooses another torch or another index, as the variables of the set-up do.
ARG TRICKBENCH_TORCH=""
ARG PIP_INDEX_URL="https://pypi.org/simple"
ARG PIP_EXTRA_INDEX_URL=""
COPY pyproject.toml README.md ./
COPY benchmarks/setup_environment.py benchmarks/constraints.txt benchmarks/constraints-torch.txt benchmarks/
RUN PIP_NO_CACHE_DIR=1 python benchmarks/setup_environment.py

# Data and results are mounted. Both links stay valid when the container runs under another user id.
COPY . .
RUN rm -rf runs && mkdir -p /data /runs && ln -s /data data && ln -s /runs runs \
    && useradd --create-home --uid 1000 trickbench && chown trickbench /data /runs

# With --user, the id has no entry in /etc/passwd: libraries find a name in USER and a writable folder in HOME.
ENV PATH="/opt/trickbench/.venv/bin:$PATH" \
    PYTHONPATH=/opt/trickbench \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    USER=trickbench \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER trickbench
ENTRYPOINT ["python", "-m", "benchmarks"]
CMD ["doctor"]
