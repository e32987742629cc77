# opsbot for Slack. Build: docker build -t opsbot .   Run: see docs/slack-setup.md
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/opsbot opsbot

WORKDIR /opt/opsbot
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE manifest.json ./
COPY opsbot ./opsbot
COPY tools ./tools
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && pip check && rm -rf build

USER opsbot
WORKDIR /var/lib/opsbot
# Mount the configuration at /etc/opsbot and keep /etc/opsbot/data, or a store.url elsewhere, on a volume.
ENTRYPOINT ["opsbot"]
CMD ["run", "--config", "/etc/opsbot/config.yaml"]
