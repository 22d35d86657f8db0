package queue

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"edgeagent"
)

// keyHardware is where the file keeps which machine it was on, in bucket m.
const keyHardware = "hardware"

// Hardware is what tells one machine from another, as hashes: neither its serial
// number nor its addresses are anybody's business. What cannot be read is empty.
type Hardware struct {
	Machine string   `json:"machine,omitempty"` // id of the installation, which a cloned card brings along
	Board   string   `json:"board,omitempty"`   // serial number of the board
	Links   []string `json:"links,omitempty"`   // addresses of the network interfaces that are built in
}

// ReadHardware returns the hardware of this machine.
func ReadHardware() Hardware { return readHardware(os.DirFS("/")) }

func readHardware(root fs.FS) Hardware {
	return Hardware{
		Machine: fact(root, "etc/machine-id"),
		Board: fact(root, "sys/firmware/devicetree/base/serial-number", "proc/device-tree/serial-number",
			"sys/class/dmi/id/product_uuid", "sys/class/dmi/id/board_serial"),
		Links: links(root),
	}
}

// fact returns the hash of the first file that says something.
func fact(root fs.FS, names ...string) string {
	for _, name := range names {
		text, err := fs.ReadFile(root, name)
		if said := strings.Trim(string(text), "\x00 \t\r\n"); err == nil && said != "" && strings.Trim(said, "0-") != "" {
			sum := sha256.Sum256([]byte("edgeagent hardware " + said))
			return hex.EncodeToString(sum[:8])
		}
	}
	return ""
}

// links returns those of interfaces that have a device and an address of their
// own: bridges, containers' ends and random addresses come and go.
func links(root fs.FS) []string {
	const folder = "sys/class/net"
	entries, err := fs.ReadDir(root, folder)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		at := path.Join(folder, e.Name())
		kind, err := fs.ReadFile(root, path.Join(at, "addr_assign_type"))
		if _, statErr := fs.Stat(root, path.Join(at, "device")); err != nil || statErr != nil || strings.TrimSpace(string(kind)) != "0" {
			continue
		}
		if address := fact(root, path.Join(at, "address")); address != "" {
			out = append(out, address)
		}
	}
	slices.Sort(out)
	return out
}

// moved reports whether h was another machine than now. A machine keeps its
// identity when an interface is added or taken away, and what cannot be read
// says nothing.
func (h Hardware) moved(now Hardware) bool {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	if differ(h.Machine, now.Machine) || differ(h.Board, now.Board) {
		return true
	}
	if h.Board != "" && h.Board == now.Board || len(h.Links) == 0 || len(now.Links) == 0 {
		return false
	}
	return !slices.ContainsFunc(h.Links, func(l string) bool { return slices.Contains(now.Links, l) })
}

// merged returns h as it is now; what cannot be read now stays.
func (h Hardware) merged(now Hardware) Hardware {
	if now.Machine == "" {
		now.Machine = h.Machine
	}
	if now.Board == "" {
		now.Board = h.Board
	}
	if len(now.Links) == 0 {
		now.Links = h.Links
	}
	return now
}

func (h Hardware) equal(o Hardware) bool {
	return h.Machine == o.Machine && h.Board == o.Board && slices.Equal(h.Links, o.Links)
}

// checkSource begins a new epoch when the file has come to another agent, by a
// changed name, or to another machine, by a cloned card: two agents must never
// number the same stream.
func (b *batch) checkSource() error {
	was, now := b.source(), b.o.source()
	here := Hardware{}
	if b.o.Hardware != nil {
		here = *b.o.Hardware
	}
	before, err := optional[Hardware](b.getJSON, bucketMeta, keyHardware)
	if err != nil && !errors.Is(err, errDamaged) {
		return err
	}
	moved := before != nil && before.moved(here)
	if was != "" && was != now || moved {
		if err := b.beginEpoch(); err != nil {
			return err
		}
		b.o.Log.Warn("the data file was another agent's or another machine's: a new epoch begins",
			"was", was, "is", now, "other_machine", moved, "epoch", b.w.epoch)
	}
	if before == nil {
		before = &Hardware{}
	}
	if after := before.merged(here); !after.equal(*before) {
		err = b.putJSON(bucketMeta, keyHardware, 0, after)
	}
	if was == now {
		return err
	}
	return errors.Join(err, b.put(bucketMeta, keySource, 0, []byte(now)))
}

// source returns whose the file was; empty for a new one, and for one that
// cannot say.
func (b *batch) source() string {
	found, _, err := b.get(bucketMeta, keySource)
	if err != nil && !errors.Is(err, edgeagent.ErrNotFound) {
		b.o.Log.Error("whose the data file was cannot be read", "error", err)
	}
	return string(found)
}
