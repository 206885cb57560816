# One image for every process: `server`, `worker` and `init` are its commands.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY workers workers
COPY src src
# Without the optional packages there is no embedded PostgreSQL: `leasehold dev` is for a clone, not for an image.
RUN npm run build && npm prune --omit=dev --omit=optional --no-audit --no-fund

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
RUN chmod 755 dist/src/cli.js && ln -s /app/dist/src/cli.js /usr/local/bin/leasehold
USER node
EXPOSE 8200
ENTRYPOINT ["leasehold"]
CMD ["server"]
