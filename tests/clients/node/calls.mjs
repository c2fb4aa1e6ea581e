// Calls a control plane by every protocol that Connect's clients for Node speak, and prints what
// came of it as one JSON object. No code is generated: the messages come from a descriptor set.
//
//   node calls.mjs '{"url": "http://127.0.0.1:1", "token": "...", "descriptors": "FILE"}'

import { readFileSync } from "node:fs";

import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";

const { url: baseUrl, token, descriptors } = JSON.parse(process.argv[2]);
const set = fromBinary(FileDescriptorSetSchema, readFileSync(descriptors));
const service = createFileRegistry(set).getService("navarch.ControlPlaneService");

const authorized = { headers: { Authorization: `Bearer ${token}` } };

function transports(httpVersion) {
  const common = { baseUrl, httpVersion };
  const binary = { ...common, useBinaryFormat: true };
  const made = {
    [`connect json ${httpVersion}`]: createConnectTransport({ ...common, useBinaryFormat: false }),
    [`connect binary ${httpVersion}`]: createConnectTransport(binary),
    [`grpc-web ${httpVersion}`]: createGrpcWebTransport(binary),
  };
  if (httpVersion === "2") {
    made["grpc 2"] = createGrpcTransport({ baseUrl });
  }
  return made;
}

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    const told = ConnectError.from(error);
    return [Code[told.code], told.rawMessage];
  }
  return ["OK", ""];
}

async function seqs(stream, most) {
  const seen = [];
  for await (const { event } of stream) {
    seen.push(Number(event.seq));
    if (seen.length === most) {
      break; // the stream is left, and the server has to notice
    }
  }
  return seen;
}

async function callAll(client) {
  const node = (await client.getNode({ nodeId: "n1" }, authorized)).node;
  const many = Array.from({ length: 200 }, (_, number) =>
    client.getNode({ nodeId: `n${number}` }, authorized),
  );
  return {
    node: [node.nodeId, node.status, String(node.gpus[0].memoryTotal)],
    concurrent: (await Promise.all(many)).every(({ node }, at) => node.nodeId === `n${at}`),
    stream: await seqs(client.watchEvents({ afterSeq: 4n }, authorized), 99),
    left: await seqs(client.watchEvents({ subject: "forever" }, authorized), 2),
    unauthenticated: await refusal(() => client.getNode({ nodeId: "n1" })),
    missing: await refusal(() => client.heartbeat({ nodeId: "stranger" }, authorized)),
    unimplemented: await refusal(() => client.explain({}, authorized)),
    late: await refusal(() => client.getNode({ nodeId: "slow" }, { ...authorized, timeoutMs: 100 })),
    large: await refusal(() => client.getNode({ nodeId: "n".repeat(300000) }, authorized)),
    failing: await refusal(() => seqs(client.watchEvents({ subject: "fails" }, authorized), 99)),
  };
}

const results = {};
for (const version of ["1.1", "2"]) {
  for (const [name, transport] of Object.entries(transports(version))) {
    results[name] = await callAll(createClient(service, transport));
  }
}
console.log(JSON.stringify(results));
process.exit(0); // idle connections would keep the process for a while
