export { MAJORS, startTestPostgres, type TestPostgres } from './postgres.ts'
export { freePort, type RedisServer, startRedis } from './redis.ts'
