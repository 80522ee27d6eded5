#!/usr/bin/env python3
"""Writes eip712.json: EIP-712 digests and signatures made by eth-account.

    pip install eth-account==0.14.0 && python3 eip712.py > eip712.json

The structs are typed out here from the EIP's rules, not taken from the Go
code. Secrets are published constants: they hold nothing.
"""
import json
import eth_account
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak

U64, U128 = 2**64 - 1, 2**128 - 1
TYPES = {
    "Voucher": [("payer", "address"), ("node", "address"), ("series", "uint64"), ("cumulative", "uint128")],
    "Receipt": [
        ("payer", "address"), ("node", "address"), ("series", "uint64"), ("session", "bytes16"),
        ("epoch", "uint32"), ("digest", "bytes32"), ("firstBlock", "uint16"), ("endBlock", "uint16"),
        ("numericsClass", "string"), ("prefill", "uint64"), ("decode", "uint64"), ("draft", "uint64"),
        ("cached", "uint64"), ("recovery", "uint64"), ("amount", "uint128"), ("cumulative", "uint128"),
        ("outcome", "uint8"),
    ],
}
SECRETS = ["%064x" % 1, "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318", "%064x" % (2**255 + 12345)]
DOMAINS = [(31337, "0xfa41ab0000000000000000000000000000000001"), (56, "0x" + "ab" * 20), (U64, "0x" + "00" * 20)]
NODES = ["0x" + "11" * 20, "0x00000000000000000000000000000000000000ff", "0x" + "ff" * 20]


def case(kind, i, message):
    chain, contract = DOMAINS[i % 3]
    secret = SECRETS[i % 3]
    account = Account.from_key(secret)
    if kind == "Voucher" or message["payer"] is None:
        message["payer"] = account.address.lower()
    domain = {"name": "Far Labs Inference", "version": "1", "chainId": chain, "verifyingContract": contract}
    types = {kind: [{"name": n, "type": t} for n, t in TYPES[kind]]}
    typed = dict(message)
    for k in ("session", "digest"):
        if k in typed:
            typed[k] = bytes.fromhex(typed[k])
    signable = encode_typed_data(domain, types, typed)
    signed = account.sign_message(signable)
    return {
        "kind": kind, "chain": str(chain), "contract": contract, "secret": secret, "signer": account.address.lower(),
        "message": {k: str(v) for k, v in message.items()},
        "separator": signable.header.hex(),
        "digest": keccak(b"\x19" + signable.version + signable.header + signable.body).hex(),
        "signature": bytes(signed.signature).hex(),
    }


cases = []
for i, (series, cumulative) in enumerate([(0, 0), (1, 1), (U64, U128), (1700000000123, 10**18), (7, 2**64), (8, 2**64 - 1)]):
    cases.append(case("Voucher", i, {"payer": None, "node": NODES[i % 3], "series": series, "cumulative": cumulative}))
for i in range(6):
    big = i == 2
    cases.append(case("Receipt", i, {
        "payer": None, "node": NODES[i % 3], "series": U64 if big else 1000 + i, "session": ("%02x" % (i * 17)) * 16,
        "epoch": 2**32 - 1 if big else i, "digest": ("%02x" % (255 - i)) * 32, "firstBlock": 1023 if big else i,
        "endBlock": 1024 if big else 10 + i, "numericsClass": ["cpu-f32-v0", "", "cpu-int8-f16kv-v1"][i % 3],
        "prefill": U64 if big else 300 * i, "decode": U64 if big else 32 * i, "draft": U64 if big else i,
        "cached": U64 if big else 2 * i, "recovery": U64 if big else 3 * i,
        "amount": U128 if big else 10**12 * i, "cumulative": U128 if big else 10**13 * i, "outcome": i % 4,
    }))
print(json.dumps({"made_by": "eth-account " + eth_account.__version__, "cases": cases}, indent=1))
