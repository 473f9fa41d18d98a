# The worker: settings from the environment, a kubeconfig mounted (or a service account), no root.
# The tag was not pulled where this file was written; whoever does first may delete this sentence.
FROM python:3.13.12-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

# A new volume takes its owner and mode from here: whichever user the worker runs as may keep snapshots in it.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin replace-etcd && install -d -m 1777 /snapshots
WORKDIR /app
COPY requirements-runtime.lock ./
RUN python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement requirements-runtime.lock
COPY worker.py ./
COPY replace_etcd ./replace_etcd
COPY activities ./activities
COPY workflows ./workflows

USER 10001:10001
CMD ["python", "worker.py"]
