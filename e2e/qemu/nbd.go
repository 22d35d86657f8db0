package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// The protocol's numbers, as its document names them:
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
const (
	nbdMagic       = 0x4e42444d41474943 // "NBDMAGIC"
	nbdHaveOpt     = 0x49484156454f5054 // "IHAVEOPT"
	nbdOptReply    = 0x3e889045565a9
	nbdRequest     = 0x25609513
	nbdSimpleReply = 0x67446698

	flagFixedNewstyle, flagNoZeroes = 1, 2
	sendHasFlags, sendFlush, canFUA = 1, 4, 8

	optExportName, optAbort, optInfo, optGo = 1, 2, 6, 7
	repAck, repInfo, repUnsupported         = 1, 3, 1<<31 + 1

	cmdRead, cmdWrite, cmdDisconnect, cmdFlush = 0, 1, 2, 3
	cmdFlagFUA                                 = 1

	errInvalid = 22 // EINVAL

	mostOption  = 4 << 10  // bytes of an option that are read
	mostRequest = 32 << 20 // bytes of a read or write, as the protocol advises
)

// errDisconnected is how a client says that it is done.
var errDisconnected = errors.New("the client disconnected")

// Serve answers one NBD client, in fixed newstyle, until it disconnects or its
// power is cut: requests are worked off one after the other, so that a flush
// covers every write that came before it. It closes conn.
func Serve(conn net.Conn, d *Disk) error {
	defer conn.Close()
	c := &client{conn: conn, disk: d}
	err := c.negotiate()
	for err == nil {
		err = c.request()
	}
	if errors.Is(err, errDisconnected) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

type client struct {
	conn     net.Conn
	disk     *Disk
	noZeroes bool
}

// send writes numbers and bytes in network order, as one packet.
func (c *client) send(parts ...any) error {
	var packet []byte
	for _, p := range parts {
		var err error
		if packet, err = binary.Append(packet, binary.BigEndian, p); err != nil {
			return err
		}
	}
	_, err := c.conn.Write(packet)
	return err
}

func (c *client) receive(into any) error { return binary.Read(c.conn, binary.BigEndian, into) }

func (c *client) negotiate() error {
	if err := c.send(uint64(nbdMagic), uint64(nbdHaveOpt), uint16(flagFixedNewstyle|flagNoZeroes)); err != nil {
		return err
	}
	var flags uint32
	if err := c.receive(&flags); err != nil {
		return err
	}
	c.noZeroes = flags&flagNoZeroes != 0
	for {
		if chosen, err := c.option(); chosen || err != nil {
			return err
		}
	}
}

// option answers one option and reports whether it was the one that begins the
// transmission. Every name of an export is this disk's.
func (c *client) option() (chosen bool, err error) {
	var head struct {
		Magic       uint64
		Option, Len uint32
	}
	if err := c.receive(&head); err != nil {
		return false, err
	}
	if head.Magic != nbdHaveOpt || head.Len > mostOption {
		return false, fmt.Errorf("option %d with magic %x and %d bytes", head.Option, head.Magic, head.Len)
	}
	if _, err := io.CopyN(io.Discard, c.conn, int64(head.Len)); err != nil {
		return false, err
	}
	size, flags := uint64(c.disk.Size()), uint16(sendHasFlags|sendFlush|canFUA)
	reply := func(kind uint32, content []byte) error {
		return c.send(uint64(nbdOptReply), head.Option, kind, uint32(len(content)), content)
	}
	switch head.Option {
	case optExportName:
		zeroes := make([]byte, 124)
		if c.noZeroes {
			zeroes = nil
		}
		return true, c.send(size, flags, zeroes)
	case optAbort:
		return false, errors.Join(reply(repAck, nil), errDisconnected)
	case optInfo, optGo:
		export := binary.BigEndian.AppendUint64([]byte{0, 0}, size) // kind 0: size and flags
		export = binary.BigEndian.AppendUint16(export, flags)
		return head.Option == optGo, errors.Join(reply(repInfo, export), reply(repAck, nil))
	}
	return false, reply(repUnsupported, nil)
}

// request answers one request of the transmission.
func (c *client) request() error {
	var r struct {
		Magic          uint32
		Flags, Command uint16
		Cookie, Off    uint64
		Len            uint32
	}
	if err := c.receive(&r); err != nil {
		return err
	}
	if r.Magic != nbdRequest || r.Len > mostRequest {
		return fmt.Errorf("request %d with magic %x and %d bytes", r.Command, r.Magic, r.Len)
	}
	reply := func(failed error, data []byte) error {
		code := uint32(0)
		if errors.Is(failed, errNoPower) {
			return errDisconnected
		}
		if failed != nil {
			code, data = errInvalid, nil
		}
		return c.send(uint32(nbdSimpleReply), code, r.Cookie, data)
	}
	switch r.Command {
	case cmdRead:
		data := make([]byte, r.Len)
		return reply(c.disk.Read(data, int64(r.Off)), data)
	case cmdWrite:
		data := make([]byte, r.Len)
		if _, err := io.ReadFull(c.conn, data); err != nil {
			return err
		}
		if r.Flags&cmdFlagFUA != 0 {
			return reply(c.disk.WriteThrough(data, int64(r.Off)), nil)
		}
		return reply(c.disk.Write(data, int64(r.Off)), nil)
	case cmdFlush:
		return reply(c.disk.Flush(), nil)
	case cmdDisconnect:
		return errDisconnected
	}
	return reply(errors.ErrUnsupported, nil)
}
