import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { VERSION } from '../../src/lib/version.ts'

const read = (file: string): string => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')

test('the version is the same wherever it is written', () => {
  expect(JSON.parse(read('package.json')).version).toBe(VERSION)
  expect(parse(read('openapi.yaml')).info.version).toBe(VERSION)
  expect(read('docker-compose.yml')).toContain(`image: leasehold:${VERSION}\n`)
})
