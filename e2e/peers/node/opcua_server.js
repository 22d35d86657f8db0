// An OPC UA server on node-opcua: an independent implementation to read from,
// with limits, users, all policies, and one limit alarm.
//
// usage: opcua_server.js PORT CERTIFICATE KEY PKI_FOLDER [OPTIONS]
//
// OPTIONS is JSON: lifetime of a channel's token in ms, subscriptions of a
// session, items of a subscription, at most.
//
// Lines on standard input change it while it runs, each answered with "ok":
//   set NAME VALUE        a variable's value
//   delete NAME           takes the variable away
//   ack                   acknowledges the limit alarm, as the panel would
//   log                   answers with what users did: "log USER:verdict …"
//   forget                begins that log anew
//   sessions              answers with the number of sessions
//   refreshes             answers with how often all conditions were told
//   tokens                answers with how many tokens each channel had
const opcua = require("node-opcua");
const readline = require("readline");

const [port, certificateFile, privateKeyFile, pki, more = "{}"] = process.argv.slice(2);
const options = JSON.parse(more);
const log = [];
let refreshes = 0;

// The library prints its warnings to standard output; ours is for answers.
const answer = (line) => process.stdout.write(line + "\n");
for (const to of ["log", "info", "warn"]) console[to] = console.error;

const userManager = {
  isValidUser(user, password) {
    const ok = user === "edge" && password === "correct horse";
    log.push(`${user}:${ok ? "accepted" : "rejected"}`);
    return ok;
  },
};

function variables(space, device) {
  const own = space.getOwnNamespace();
  const all = {};
  const add = (name, dataType, value, more = {}) => {
    const node = own.addVariable({
      componentOf: device, browseName: name, nodeId: `s=Line1.${name}`, dataType,
      minimumSamplingInterval: 50, ...more,
    });
    // A 64-bit number is a pair here; of several elements is only what has a rank.
    const arrayType = more.valueRank ? opcua.VariantArrayType.Array : opcua.VariantArrayType.Scalar;
    node.setValueFromSource({ dataType, arrayType, value });
    all[name] = node;
  };
  add("Level", "Double", 20.5);
  add("Counter", "UInt32", 1);
  add("Big", "Int64", [0x12345678, 0x9abcdef1]);
  add("Running", "Boolean", true);
  add("Recipe", "String", "Lager 0.5 l");
  add("Word", "UInt32", 0);
  add("Temperatures", "Float", [1.5, 2.5, 3.5], { valueRank: 1, arrayDimensions: [3] });
  add("Any", "Double", 1.5, { dataType: "BaseDataType" }); // of no numeric type: no deadband is taken
  for (let i = 0; i < 300; i++) add(`V${i}`, "Int32", i * 7 + 1);
  return all;
}

function limitAlarm(space, device, level) {
  return space.getOwnNamespace().instantiateExclusiveLimitAlarm("ExclusiveLimitAlarmType", {
    browseName: "LevelAlarm", componentOf: device, conditionSource: device, conditionName: "LevelAlarm",
    inputNode: level, optionals: ["ConfirmedState", "Confirm"],
    lowLowLimit: -100, lowLimit: -50, highLimit: 80, highHighLimit: 95,
  });
}

function typed(node, text) {
  const v = node.readValue().value;
  const name = opcua.DataType[v.dataType];
  const value = name === "Boolean" ? text === "true" : name === "String" ? text : Number(text);
  return { dataType: v.dataType, value };
}

function acknowledge(alarm) {
  const branch = alarm.currentBranch();
  branch.setAckedState(true);
  alarm.raiseNewCondition(new opcua.ConditionInfo({ message: "acknowledged on the panel", retain: true, severity: alarm.severity.readValue().value.value, quality: opcua.StatusCodes.Good }));
}

(async () => {
  const certificates = new opcua.OPCUACertificateManager({ rootFolder: pki, automaticallyAcceptUnknownCertificate: true });
  await certificates.initialize();
  const users = new opcua.OPCUACertificateManager({ rootFolder: pki + "-users", automaticallyAcceptUnknownCertificate: true });
  await users.initialize();
  const P = opcua.SecurityPolicy, M = opcua.MessageSecurityMode;
  const server = new opcua.OPCUAServer({
    port: Number(port), hostname: "127.0.0.1", certificateFile, privateKeyFile,
    serverCertificateManager: certificates, userCertificateManager: users, userManager,
    securityPolicies: [P.None, P.Basic256Sha256, P.Aes128_Sha256_RsaOaep, P.Aes256_Sha256_RsaPss],
    securityModes: [M.None, M.Sign, M.SignAndEncrypt],
    allowAnonymous: true, maxConnectionsPerEndpoint: 50,
    serverInfo: { applicationUri: "urn:e2e:opcua" },
    defaultSecureTokenLifetime: options.lifetime,
    serverCapabilities: {
      maxSessions: 50, maxSubscriptionsPerSession: options.subscriptions, maxMonitoredItemsPerSubscription: options.items,
      operationLimits: { maxNodesPerRead: 100, maxMonitoredItemsPerCall: 100, maxNodesPerBrowse: 50 },
    },
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  space.installAlarmsAndConditionsService();
  space.rootFolder.objects.server.on("event", (e) => {
    if (e.eventType.value.toString() === "ns=0;i=2788") refreshes++; // RefreshEndEventType
  });
  const device = space.getOwnNamespace().addObject({ organizedBy: space.rootFolder.objects, browseName: "Line1", eventSourceOf: space.rootFolder.objects.server });
  const all = variables(space, device);
  const alarm = limitAlarm(space, device, all.Level);
  const moving = setInterval(() => {
    if (!all.Counter) return;
    const now = all.Counter.readValue().value.value;
    all.Counter.setValueFromSource({ dataType: "UInt32", value: now + 1 });
  }, 100);
  const commands = {
    set: (name, ...rest) => all[name].setValueFromSource(typed(all[name], rest.join(" "))),
    delete: (name) => { space.deleteNode(all[name]); delete all[name]; },
    ack: () => acknowledge(alarm),
    log: () => "log " + log.join(" "),
    forget: () => { log.length = 0; },
    tokens: () => "tokens " + server.endpoints[0].getChannels().map((c) => c.securityTokenCount).join(" "),
    refreshes: () => "refreshes " + refreshes,
    sessions: () => "sessions " + server.engine.currentSessionCount,
    stop: async () => { clearInterval(moving); await server.shutdown(0); process.exit(0); },
  };
  await server.start();
  answer("ready");
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const [verb, ...args] = line.split(" ");
    try {
      const said = commands[verb](...args);
      answer(typeof said === "string" ? said : "ok");
    } catch (e) {
      answer("failed " + e.message.split("\n")[0]);
    }
  });
})();
