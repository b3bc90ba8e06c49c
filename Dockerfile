# syntax=docker/dockerfile:1
# One image for Cloud Run, GKE and a desk. Layers from the slowest to change to the quickest: packages, model, code.

FROM python:3.11-slim-bookworm AS packages
# The CUDA build of torch. Cloud Run's L4 has driver 535 (CUDA 12.2): any CUDA 12.x build runs on it, a CUDA 13 build
# wants driver 580. Of the builds of torch 2.13 the stable one for CUDA 12 is 12.6; its kernels for compute capability
# 8.6 are the ones an L4 (8.9) runs. For an image without CUDA: --build-arg TORCH_INDEX= the same address ending in cpu.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu126
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.txt /tmp/requirements.txt
# torch comes first and from its own index; the second install finds it there and pins all the rest.
# A build that the L4's driver cannot run stops here, not at the first picture.
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" "$(grep --only-matching '^torch==[^ ]*' /tmp/requirements.txt)" \
    && pip install --no-cache-dir --requirement /tmp/requirements.txt \
    && python -c "import torch; cuda = torch.version.cuda; assert cuda is None or cuda.startswith('12.'), cuda"

# The code without the model, which has a layer of its own. Compiled here, because the image is read-only to its user.
FROM python:3.11-slim-bookworm AS code
COPY imagegen /app/imagegen
COPY brand_presets /app/brand_presets
RUN rm -r /app/imagegen/starter/model && python -m compileall -q /app/imagegen

FROM python:3.11-slim-bookworm
# A user without a name or a home: Cloud Run takes the user from here and ignores securityContext.
# /app/output takes the pictures where no bucket is set.
RUN install --directory --owner=10001 --group=10001 /app/output
COPY --from=packages /opt/venv /opt/venv
# Another model: put its folder below models/ and say --build-arg MODEL=models/NAME
ARG MODEL=imagegen/starter/model
COPY ${MODEL} /app/${MODEL}
COPY --from=code /app /app

# HOME is where a model from a hub would be kept; PYTHONUNBUFFERED so that a last word before a crash is not lost.
# PYTORCH_ALLOC_CONF: steps come with any number of rows and several sizes; segments of fixed size would be left in
# pieces that fit no later one, and an L4's 24 GB would seem full while much of it is free.
# CUDA_MODULE_LOADING: of torch's thousands of kernels a model runs a few dozen; loading those alone saves seconds of
# the cold start and hundreds of MB. Drivers do so by themselves from CUDA 12.2 on; the image runs from 12.0 on.
ENV PATH=/opt/venv/bin:$PATH \
    PYTORCH_ALLOC_CONF=expandable_segments:True \
    CUDA_MODULE_LOADING=LAZY \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/app \
    HOME=/tmp \
    IMAGEGEN_HOST=0.0.0.0 \
    IMAGEGEN_MODEL=${MODEL}
WORKDIR /app
USER 10001:10001
EXPOSE 8080
# No HEALTHCHECK: Cloud Run and Kubernetes ignore it; their probes are in deploy/.
# No init process: gunicorn is process 1, passes SIGTERM on and collects its children.
CMD ["python", "-m", "imagegen", "serve"]
