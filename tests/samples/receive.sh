#!/bin/bash
# A receiver of keyround's webhooks: checks the signature, opens the data, gives back the new pair.
#
#     apt install age jq openssl
set -euo pipefail

request=$(cat)
body=$(jq -r .body <<<"$request")
signed="$(jq -r '.headers["webhook-id"]' <<<"$request").$(jq -r '.headers["webhook-timestamp"]' <<<"$request").$body"
key=$(base64 -d <<<"${WEBHOOK_SECRET#whsec_}" | od -An -v -tx1 | tr -d ' \n')
signature="v1,$(printf %s "$signed" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)"
case " $(jq -r '.headers["webhook-signature"]' <<<"$request") " in
*" $signature "*) ;;
*) echo "it is not from keyround" >&2 && exit 1 ;;
esac

# keyround webhook send-test: there is nothing to store, and a 2xx status is the answer.
[[ $(jq -r .type <<<"$body") != access_key.test ]] || exit 0

data=$(jq .data <<<"$body")
if jq -e .data_encrypted >/dev/null <<<"$data"; then
    data=$(jq -r .data_encrypted <<<"$data" | base64 -d | age -d -i <(printf '%s\n' "$AGE_IDENTITY"))
fi
jq -c '[.access_key_id, .secret_access_key]' <<<"$data"
