# The command line and its pages, without torch: `docker build -t vlmcal .`
#   docker run --rm -v "$PWD:/data" vlmcal evaluate predictions.csv --probs -o report.html
#   docker run --rm -p 8765:8765 -v "$PWD:/data" vlmcal review predictions.csv --probs --db review.db --host 0.0.0.0 --no-browser
# With torch, for images: `docker build --build-arg EXTRAS=train -t vlmcal:train .`
FROM python:3.11-slim AS build
ARG EXTRAS=excel,app
COPY . /source
RUN grep -v '^torch==' /source/constraints.txt > /tmp/constraints.txt \
 && python -m venv /app \
 && /app/bin/pip install --no-cache-dir -c /tmp/constraints.txt "/source[${EXTRAS}]" \
 && find /app -name __pycache__ -prune -exec rm -rf {} +

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 vlmcal && mkdir /data && chown vlmcal /data
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
USER vlmcal
WORKDIR /data
ENTRYPOINT ["vlmcal"]
CMD ["--help"]
