// Asks iam-simulate what policies allow. JSON on standard input:
//   {"cases": [{"policies": [document, …], "boundary": document or null,
//               "requests": [{"action", "resource", "account", "context"}, …]}, …]}
// and on standard output for each case a list with one of "Allowed", "ImplicitlyDenied", "ExplicitlyDenied" for each
// request. A request that AWS would not know (no such action, a resource of another kind) ends it with an error.
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const { cases } = JSON.parse(readFileSync(0, 'utf8'))
const results = []
for (const { policies, boundary, requests } of cases) {
  const answers = []
  for (const { action, resource, account, context } of requests) {
    const simulation = {
      request: {
        principal: `arn:aws:iam::${account}:user/rotator`,
        action,
        resource: { resource, accountId: account },
        contextVariables: context ?? {},
      },
      identityPolicies: policies.map((policy, number) => ({ name: `policy-${number}`, policy })),
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      ...(boundary ? { permissionBoundaryPolicies: [{ name: 'boundary', policy: boundary }] } : {}),
    }
    const answer = await runSimulation(simulation, {})
    if (answer.resultType !== 'single') {
      throw new Error(`${action} on ${resource}: ${JSON.stringify(answer)} ${JSON.stringify(policies)}`)
    }
    answers.push(answer.overallResult)
  }
  results.push(answers)
}
process.stdout.write(JSON.stringify(results))
