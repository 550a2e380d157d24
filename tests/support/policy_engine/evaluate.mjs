// Asks iam-simulate what policies allow. JSON on standard input:
//   {"policies": [document, …], "requests": [{"action", "resource", "account"}, …]}
// and on standard output a list with one of "Allowed", "ImplicitlyDenied", "ExplicitlyDenied" for each request.
// A request that AWS would not know (no such action, a resource of another kind) ends it with an error.
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const { policies, requests } = JSON.parse(readFileSync(0, 'utf8'))
const results = []
for (const { action, resource, account } of requests) {
  const simulation = {
    request: {
      principal: `arn:aws:iam::${account}:user/rotator`,
      action,
      resource: { resource, accountId: account },
      contextVariables: {},
    },
    identityPolicies: policies.map((policy, number) => ({ name: `policy-${number}`, policy })),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  }
  const answer = await runSimulation(simulation, {})
  if (answer.resultType !== 'single') {
    throw new Error(`${action} on ${resource}: ${JSON.stringify(answer)}`)
  }
  results.push(answer.overallResult)
}
process.stdout.write(JSON.stringify(results))
