export { MAJORS, type Major, startTestPostgres, type TestPostgres } from './postgres.ts'
export { freePort, type RedisServer, startRedis } from './redis.ts'
