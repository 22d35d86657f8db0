package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Sector is what the drive writes as one, in bytes: all of it or nothing, as
// cards and flash do. With smaller ones, or torn ones, ext4 itself does not mount
// any more when the cut falls into its superblock, which it cannot read before
// its journal.
const Sector = 4096

// Hardware is what a machine is made of.
type Hardware struct {
	Kernel, Initrd string // files
	Disk           *Disk
	Forward        string // address on this host that leads to the guest's port 8080
	Dir            string // for the socket of the disk; at most 90 bytes
}

// Machine is a computer that runs.
type Machine struct {
	Console *Console

	cmd    *exec.Cmd
	served chan error // how the disk's server ended
	socket net.Listener
	disk   *Disk
	cut    func() error
}

// Start switches a computer on. Cut ends it, and so does the end of ctx.
func Start(ctx context.Context, h Hardware) (*Machine, error) {
	path := filepath.Join(h.Dir, "nbd")
	var listen net.ListenConfig
	socket, err := listen.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("serve the disk: %w", err)
	}
	m := &Machine{Console: newConsole(), served: make(chan error, 1), socket: socket, disk: h.Disk}
	m.cut = sync.OnceValue(m.cutOnce)
	go func() { m.served <- serveOnce(socket, h.Disk) }()
	m.cmd = exec.CommandContext(ctx, "qemu-system-aarch64",
		"-M", "virt,gic-version=3", "-cpu", "cortex-a53", "-accel", "tcg", "-m", "256",
		"-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", h.Kernel, "-initrd", h.Initrd,
		"-append", fmt.Sprintf("console=ttyAMA0 panic=-1 quiet now=%d", time.Now().Unix()),
		"-blockdev", "driver=nbd,node-name=disk,server.type=unix,server.path="+path,
		"-device", fmt.Sprintf("virtio-blk-device,drive=disk,logical_block_size=%d,physical_block_size=%[1]d", Sector),
		"-netdev", "user,id=net,hostfwd=tcp:"+h.Forward+"-10.0.2.15:8080",
		"-device", "virtio-net-device,netdev=net,mac=52:54:00:12:34:56")
	m.cmd.Stdout, m.cmd.Stderr = m.Console, m.Console
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("switch on: %w", err), socket.Close(), <-m.served)
	}
	return m, nil
}

func serveOnce(socket net.Listener, d *Disk) error {
	conn, err := socket.Accept()
	if errors.Is(err, net.ErrClosed) {
		return nil // the machine never came to its disk
	}
	if err != nil {
		return err
	}
	return Serve(conn, d)
}

// Cut ends the power supply and returns when nothing reaches the disk any more.
func (m *Machine) Cut() error { return m.cut() }

func (m *Machine) cutOnce() error {
	_ = m.cmd.Process.Kill() // it may have ended by itself
	_ = m.cmd.Wait()         // killed: always an error
	m.Console.end()
	m.disk.release()
	return errors.Join(m.socket.Close(), <-m.served)
}

// Console collects what a machine says.
type Console struct {
	mu    sync.Mutex
	text  strings.Builder
	more  chan struct{} // closed with each output
	ended bool
}

func newConsole() *Console { return &Console{more: make(chan struct{})} }

// Write takes what the machine says.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.more)
	c.more = make(chan struct{})
	return c.text.Write(p)
}

func (c *Console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	close(c.more)
	c.more = make(chan struct{})
}

func (c *Console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// stuck is how the guest's init says that it cannot go on.
const stuck = "init: STUCK:"

// Await returns when the machine has said text. It errs when ctx ends, when the
// machine does, or when that cannot come any more.
func (c *Console) Await(ctx context.Context, text string) error {
	for {
		c.mu.Lock()
		said, more, ended := c.text.String(), c.more, c.ended
		c.mu.Unlock()
		_, why, isStuck := strings.Cut(said, stuck)
		switch {
		case strings.Contains(said, text):
			return nil
		case isStuck && strings.Contains(why, "\n"), strings.Contains(said, "Kernel panic"):
			return fmt.Errorf("the machine does not start: %s", strings.TrimSpace(why))
		case ended:
			return errors.New("the machine ended")
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("await %q: %w", text, ctx.Err())
		}
	}
}
