# The command line and its pages, without torch: `docker build -t vlmcal .`
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" vlmcal evaluate predictions.csv --probs -o report.html
#   docker run --rm --user "$(id -u)" -p 8765:8765 -v "$PWD:/data" vlmcal review predictions.csv --probs --db review.sqlite --host 0.0.0.0 --no-browser
# `--user` makes files of /data yours; without it they belong to user 1000, who must be allowed to write there.
# With torch, for images: `docker build --build-arg EXTRAS=train -t vlmcal:train .`
FROM python:3.11-slim AS build
ARG EXTRAS=excel,app
COPY . /source
RUN grep -v '^torch==' /source/constraints.txt > /tmp/constraints.txt \
 && python -m venv /app \
 && /app/bin/pip install --no-cache-dir -c /tmp/constraints.txt "/source[${EXTRAS}]"

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 vlmcal && mkdir /data && chown vlmcal /data
COPY --from=build /app /app
# Caches are where any user may write.
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp
USER vlmcal
WORKDIR /data
ENTRYPOINT ["vlmcal"]
CMD ["--help"]
