import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** The kinds of tests by how long a file of them takes: the long ones begin first, so that none is left running alone. */
const KINDS = ['faults', 'e2e', 'conformance', 'integration', 'unit']

const rankOf = ({ moduleId, project }: TestSpecification): number => {
  const [, kind = ''] = relative(project.config.root, moduleId).split('/')
  return KINDS.indexOf(kind)
}

export class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).toSorted((a, b) => rankOf(a) - rankOf(b))
  }
}
