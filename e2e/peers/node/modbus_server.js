// A Modbus TCP server on modbus-serial: an independent implementation to read from.
//
// usage: modbus_server.js PORT
//
// Every register is a function of its address. Lines on standard input change
// the image while it runs: "holding ADDRESS VALUE" and "coil ADDRESS VALUE".
const { ServerTCP } = require("modbus-serial");
const readline = require("readline");

const SIZE = 1000;
const holding = Buffer.alloc(2 * SIZE);
const coils = [];
for (let i = 0; i < SIZE; i++) {
  holding.writeUInt16BE((i * 7 + 1) & 0xffff, 2 * i);
  coils[i] = i % 3 === 0;
}

// order names the bytes of the big-endian value.
function float(address, value, order) {
  const raw = Buffer.alloc(4);
  raw.writeFloatBE(value);
  for (let i = 0; i < 4; i++) holding[2 * address + i] = raw["ABCD".indexOf(order[i])];
}
float(100, 12.5, "ABCD");
float(102, -3.25, "CDAB");
float(104, 1e6, "BADC");
float(106, 0.001, "DCBA");
[0x8001, 0x0004, 0x0004, 0x8001].forEach((word, i) => holding.writeUInt16BE(word, 2 * (110 + i)));
holding.writeUInt16BE(0, 2 * 500);

const server = new ServerTCP({
  getHoldingRegister: (address) => holding.readUInt16BE(2 * address),
  getInputRegister: (address) => (address * 13 + 5) & 0xffff,
  getCoil: (address) => coils[address],
  getDiscreteInput: (address) => address % 5 === 0,
}, { host: "127.0.0.1", port: Number(process.argv[2]), unitID: 1 });

server.on("initialized", () => console.log("ready"));
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [area, address, value] = line.split(" ");
  if (area === "holding") holding.writeUInt16BE(Number(value), 2 * Number(address));
  else coils[Number(address)] = value !== "0";
  console.log("ok");
});
