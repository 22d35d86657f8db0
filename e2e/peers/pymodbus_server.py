"""A Modbus server on pymodbus: an independent implementation to read from.

usage: pymodbus_server.py PORT | rtutcp PORT | rtu SERIAL_PORT
Every register is a function of its address. Lines on standard input change the
image while it runs: "holding ADDRESS VALUE" and "coil ADDRESS VALUE".
"""
import asyncio
import struct
import sys
import threading

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartAsyncSerialServer, StartAsyncTcpServer
from pymodbus.transaction import ModbusRtuFramer

SIZE = 1000


def floats(values, address, number, order):
    """Write a float32; order names the bytes of the big-endian value."""
    raw = struct.pack(">f", number)
    sent = bytes(raw["ABCD".index(letter)] for letter in order)
    values[address], values[address + 1] = struct.unpack(">HH", sent)


def image():
    holding = [(i * 7 + 1) & 0xFFFF for i in range(SIZE)]
    floats(holding, 100, 12.5, "ABCD")
    floats(holding, 102, -3.25, "CDAB")
    floats(holding, 104, 1e6, "BADC")
    floats(holding, 106, 0.001, "DCBA")
    # A word of 32 alarm bits, most and least significant register first.
    holding[110], holding[111] = holding[113], holding[112] = 0x8001, 0x0004
    holding[500] = 0
    return ModbusSlaveContext(
        hr=ModbusSequentialDataBlock(0, holding),
        ir=ModbusSequentialDataBlock(0, [(i * 13 + 5) & 0xFFFF for i in range(SIZE)]),
        co=ModbusSequentialDataBlock(0, [i % 3 == 0 for i in range(SIZE)]),
        di=ModbusSequentialDataBlock(0, [i % 5 == 0 for i in range(SIZE)]),
        zero_mode=True,
    )


def commands(store):
    functions = {"holding": 3, "coil": 1}
    for line in sys.stdin:
        area, address, value = line.split()
        store.setValues(functions[area], int(address), [int(value)])
        print("ok", flush=True)


async def main():
    store = image()
    context = ModbusServerContext(slaves=store, single=True)
    threading.Thread(target=commands, args=(store,), daemon=True).start()
    print("ready", flush=True)
    if sys.argv[1] == "rtu":
        await StartAsyncSerialServer(
            context=context, framer=ModbusRtuFramer, port=sys.argv[2], baudrate=115200, parity="N", timeout=1)
    elif sys.argv[1] == "rtutcp":
        await StartAsyncTcpServer(context=context, framer=ModbusRtuFramer, address=("127.0.0.1", int(sys.argv[2])),
                                  allow_reuse_address=True)
    else:
        await StartAsyncTcpServer(context=context, address=("127.0.0.1", int(sys.argv[1])), allow_reuse_address=True)


asyncio.run(main())
