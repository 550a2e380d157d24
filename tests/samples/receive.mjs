// A receiver of keyround's webhooks: checks the signature, opens the data, gives back the new pair.
//
//     npm install standardwebhooks age-encryption

import { Decrypter } from "age-encryption";
import { Webhook } from "standardwebhooks";
import { text } from "node:stream/consumers";

export async function receive(headers, body, webhookSecret, ageIdentity) {
  let { type, data } = new Webhook(webhookSecret).verify(body, headers); // throws when it is not from keyround
  if (type === "access_key.test") {
    return null; // keyround webhook send-test: there is nothing to store, and a 2xx status is the answer
  }
  if ("data_encrypted" in data) {
    const decrypter = new Decrypter();
    decrypter.addIdentity(ageIdentity);
    const file = Buffer.from(data.data_encrypted, "base64");
    data = JSON.parse(await decrypter.decrypt(file, "text"));
  }
  // headers["webhook-id"] is the same for every repeat of one delivery: what was seen before is only answered again.
  return [data.access_key_id, data.secret_access_key];
}

const request = JSON.parse(await text(process.stdin));
const { WEBHOOK_SECRET, AGE_IDENTITY } = process.env;
console.log(JSON.stringify(await receive(request.headers, request.body, WEBHOOK_SECRET, AGE_IDENTITY)));
